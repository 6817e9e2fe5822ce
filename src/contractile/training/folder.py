"""The run folder: its files, what must hold before a run begins, and what the card of its models says."""

from __future__ import annotations

import csv
import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from contractile.dataset import Example
from contractile.engine import find_device
from contractile.errors import AlreadyThere, ContractileError, NotFound
from contractile.images import replacing
from contractile.images.writing import check_folder as check_writable
from contractile.labels import diameters
from contractile.model import ModelCard
from contractile.recipe import Recipe
from contractile.targets import unannotated

MODEL_FILE, STATE_FILE, HISTORY_FILE, RECIPE_FILE = "model.safetensors", "state.ckpt", "history.csv", "recipe.toml"


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check that the run folder is new, or holds a run that can be resumed, and that it can be written.

    Raises NotFound, AlreadyThere or NotWritable.
    """
    if resume and not (folder / STATE_FILE).is_file():
        raise NotFound(f"out {folder} holds no {STATE_FILE} to resume from", "leave out --resume to start a run")
    if not resume and (folder / RECIPE_FILE).exists():
        raise AlreadyThere(f"out {folder} already holds a run", "resume it with --resume, or choose another folder")
    check_writable(folder)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The last state of the run in a folder; None where no run has begun. Raises ContractileError for a broken file."""
    path = folder / STATE_FILE
    try:
        return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise ContractileError("is not the state of a run", "train anew into another folder", where=path) from error


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    content = BytesIO()
    torch.save(dict(state), content)  # into memory first: on a full disk torch.save raises no OSError
    with replacing(folder / STATE_FILE) as path:
        path.write_bytes(content.getbuffer())


def write_recipe(folder: Path, recipe: Recipe) -> None:
    with replacing(folder / RECIPE_FILE) as path:
        path.write_text(recipe.to_toml(), encoding="utf-8")


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    columns = list(dict.fromkeys(column for row in history for column in row))
    with replacing(folder / HISTORY_FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def describe(recipe: Recipe, training: Sequence[Example], validation: Sequence[Example]) -> ModelCard:
    """The card of every model of a run; only the step and the scores are still missing.

    The network on the card is the ordinary one that is stored (`unet.fold`), whatever kernels were tied in training.
    """
    small, typical, large = 0.0, 0.0, 0.0
    if recipe.targets.task == "objects":
        small, typical, large = diameters(
            [np.where(unannotated(one.labels, recipe.targets), 0, one.labels) for one in training]
        )
    return ModelCard(
        network=recipe.network.model_copy(update={"symmetry": "none"}),
        symmetry=recipe.network.symmetry,
        task=recipe.targets.task,
        class_values=recipe.targets.class_values,
        diameter=typical or None,
        diameters=(small, large) if typical else None,
        pixel_size_um=validation[0].pixel_size_um,
        axes=recipe.axes,
        normalization=recipe.samples.normalization,
        provenance=_trace(recipe, [*training, *validation]),
    )


def _trace(recipe: Recipe, examples: Sequence[Example]) -> dict[str, Any]:
    """Where a model comes from: data, versions, machine, date."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.pixels.tobytes())
        digest.update(example.labels.tobytes())
    return {
        "data_sha256": digest.hexdigest(),
        "images": len(examples),
        "recipe": recipe.base,
        "contractile": version("contractile"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": str(find_device(recipe.device)),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
