"""Which validation images are looked at during a run."""

from dataclasses import replace

import numpy as np
from discs import TINY, bright_discs

from contractile.recipe import derive
from contractile.training import fit, validation


def test_of_many_pages_those_with_annotation_are_looked_at(tmp_path, monkeypatch):
    """One of 26, which is none of every third."""
    pages = [bright_discs(str(number), number) for number in range(26)]
    held_out = [replace(one, labels=one.labels if one.name == "1" else np.full_like(one.labels, -1)) for one in pages]
    recipe = derive(pages[:2], {**TINY, "targets": {"task": "objects"}})
    truths = []

    def choose(_, shown, **how):
        truths.extend(shown)
        return how["first"]

    monkeypatch.setattr(validation, "choose_decoding", choose)
    run = fit(pages[:2], held_out, recipe, folder=tmp_path / "run")
    assert [row["step"] for row in run.history if any(name.startswith("val_") for name in row)] == [6, 12]
    assert truths
    assert all((one >= 0).any() for one in truths)
