"""What opens files of strangers, as one function for each kind: path -> what was read, or an error of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LEAST = 512  # pixels along each axis that are read of an image


def read_image(path: Path) -> Any:
    from contractile.images import find, open_image

    shapes = []
    for source in find(path, quiet=True)[:3]:
        with open_image(source) as image:
            part = image[(slice(None), *(slice(0, LEAST) for _ in image.shape[1:]))]
            assert part.dtype == image.dtype
            assert part.shape == (image.shape[0], *(min(n, LEAST) for n in image.shape[1:]))
            shapes.append(part.shape)
    return shapes


def read_volume(path: Path) -> Any:
    from contractile.images import find, read

    return [read(source, dims=3).shape for source in find(path, dims=3, quiet=True)[:2]]


def read_annotation(path: Path) -> Any:
    from contractile.images import find, read_labels

    found = [read_labels(source) for source in find(path, labels=True, quiet=True)[:3]]
    assert all(one.dtype == np.int32 for one in found)
    return [one.shape for one in found]


def read_shapes(path: Path) -> Any:
    """Labels of the images of a file of shapes; None where its content is no such file any more."""
    from contractile.images.shape_files import Canvas, draw_labels, names_in, numbering_of, shape_kind

    if shape_kind(path) is None:
        return None
    entries = [(path, entry) for entry in range(len(names_in(path)))][:3]
    numbering = numbering_of(entries)
    return [draw_labels(*one, numbering, Canvas((24, 20))).shape for one in entries]


def read_maps(path: Path) -> Any:
    from contractile.images import find, read_probabilities

    return [read_probabilities(source).shape for source in find(path, quiet=True)[:3]]


def describe(path: Path) -> Any:
    from contractile.cli.describing import describe_all

    return list(describe_all([], [str(path)]))


def look_at_labels(path: Path) -> Any:
    """The data doctor: an image that is a file of its own, with the damaged labels."""
    from contractile.check import check_dataset

    return check_dataset(path, path)


def read_recipe(path: Path) -> Any:
    from contractile.dataset import Example
    from contractile.recipe import derive, read_recipe

    pixels = np.random.default_rng(0).integers(0, 1000, (1, 64, 64))
    return derive([Example("a", pixels, (pixels[0] > 500).astype(np.int32))], read_recipe(path)).to_toml()


def read_model(path: Path) -> Any:
    from contractile.model import load

    return load(path).card


def read_state(path: Path) -> Any:
    from contractile.training.folder import RunFolder
    from contractile.training.state import begin, launch

    folder = RunFolder(path, resume=True)
    found = folder.read_state()
    state = begin(found.saved.recipe, launch(found.saved.recipe))
    state.restore(found.saved, found.tensors)
    return state.step


def read_manifest(path: Path) -> None:
    from contractile.storage import check_replaceable

    path.with_name("a.txt").write_text("a", encoding="utf-8")
    check_replaceable([path.with_name("a.txt")])


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {  # reader -> its folder in the corpus
    "image": ("images", read_image),
    "volume": ("images", read_volume),
    "labels": ("images", read_annotation),
    "shapes": ("shapes", read_shapes),
    "probabilities": ("images", read_maps),
    "info": ("images", describe),
    "check": ("images", look_at_labels),
    "recipe": ("recipes", read_recipe),
    "model": ("models", read_model),
    "state": ("states", read_state),
    "manifest": ("manifests", read_manifest),
}


def warm_up() -> None:
    """Import what the readers import, so that each input costs its reading alone."""
    import contractile.check
    import contractile.cli.describing
    import contractile.model
    import contractile.recipe
    import contractile.training.loop  # noqa: F401

    logging.disable(logging.CRITICAL)
