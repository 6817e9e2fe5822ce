"""Where a model comes from: what its card says, and whether a resumed run goes on with what it began with."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contractile.dataset import Example, count_images
from contractile.engine import find_device
from contractile.errors import ContractileError
from contractile.labels import diameters
from contractile.model import ModelCard
from contractile.recipe import Recipe
from contractile.targets import known_labels
from contractile.training.saved import ANEW, Origin

logger = logging.getLogger(__name__)

NAMED = 3  # images in an error


def trace(
    recipe: Recipe,
    training: Sequence[Example],
    validation: Sequence[Example],
    *,
    command: str = "",
    start: str = "",
) -> Origin:
    """What a run begins with: hashes of its data, versions, the words of the command line, the model it starts from."""
    digest = hashlib.sha256()
    for example in (*training, *validation):
        digest.update(example.pixels.tobytes())
        digest.update(example.labels.tobytes())
    sides = {"": training, "validation ": validation}
    prints = {f"{side}images": {_text(e.name): _print(e.pixels) for e in examples} for side, examples in sides.items()}
    prints |= {f"{side}labels": {_text(e.name): _print(e.labels) for e in examples} for side, examples in sides.items()}
    versions = {
        "contractile": version("contractile"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": str(find_device(recipe.device)),
    }
    return Origin(data=digest.hexdigest(), prints=prints, versions=versions, command=_text(command), start=_text(start))


def _text(words: str) -> str:
    """Words with escapes for what cannot be saved as UTF-8: names of files may hold any bytes."""
    return words.encode("utf-8", "backslashreplace").decode()


def _print(array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=8)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_origin(began: Origin, now: Origin, folder: Path) -> None:
    """Check that a run is resumed with the data that it began with; warn about other versions.

    Raises ContractileError, naming the side and how many differ.
    """
    if began.data != now.data:
        differing = [
            part for side in began.prints for part in _compare(side, began.prints[side], now.prints.get(side, {}))
        ]
        found = ", ".join(differing) or f"their SHA-256 is {now.data[:8]}..., not {began.data[:8]}..."
        problem = f"images and labels must be those that the run began with: {found}"
        raise ContractileError(problem, f"give the same ones, or {ANEW}", where=folder)
    changed = [name for name in began.versions if began.versions[name] != now.versions.get(name)]
    if changed:
        before, after = (", ".join(f"{name} {one.versions.get(name)}" for name in changed) for one in (began, now))
        logger.warning("the run began with %s and goes on with %s: the result may differ a little", before, after)


def _compare(side: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """What differs on one side of the data."""
    changed = [name for name in before if name in after and before[name] != after[name]]
    for names, words in (
        (changed, f"of {len(before)} {side} differ"),
        ([name for name in before if name not in after], f"of {len(before)} {side} are missing"),
        ([name for name in after if name not in before], f"{side} are new"),
    ):
        if names:
            yield f"{len(names)} {words} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"


def _class_names(recipe: Recipe, training: Sequence[Example]) -> tuple[str, ...]:
    """A name for each class, where the annotations have them: value 0 is background, value n is class n."""
    names = training[0].class_names
    values = recipe.targets.class_values
    if not names or not all(0 <= value <= len(names) for value in values):
        return ()
    return tuple("background" if value == 0 else names[value - 1] for value in values)


def find_sizes(recipe: Recipe, training: Sequence[Example]) -> dict[str, Any]:
    """What a card says about the sizes of the training objects: `diameter`, and `diameters` of small and large ones."""
    if recipe.targets.task != "objects":
        return {}
    known = [known_labels(one.labels, recipe.targets) for one in training]
    small, typical, large = diameters(known, spacing=recipe.targets.spacing)
    return {"diameter": typical, "diameters": (small, large)} if typical else {}


def describe(recipe: Recipe, training: Sequence[Example], validation: Sequence[Example], origin: Origin) -> ModelCard:
    """The card of every model of a run; only the step and the scores are still missing.

    The network on the card is the ordinary one that is stored (`unet.fold`), whatever kernels were tied in training.
    """
    return ModelCard(
        network=recipe.network.model_copy(update={"symmetry": "none"}),
        symmetry=recipe.network.symmetry,
        task=recipe.targets.task,
        class_values=recipe.targets.class_values,
        class_names=_class_names(recipe, training),
        **find_sizes(recipe, training),
        pixel_size_um=validation[0].pixel_size_um,
        axes=recipe.axes,
        normalization=recipe.samples.normalization,
        provenance={
            "data_sha256": origin.data,
            "images": count_images([*training, *validation]),
            "recipe": recipe.base,
            "command": origin.command,
            **({"start": origin.start} if origin.start else {}),
            **origin.versions,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
