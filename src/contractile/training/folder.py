"""The run folder: what lies in it, and where a model comes from."""

from __future__ import annotations

import csv
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from contractile.dataset import Example
from contractile.engine import find_device
from contractile.errors import AlreadyThere, ContractileError, NotFound, NotWritable
from contractile.images import replacing
from contractile.recipe import Recipe

MODEL_FILE, STATE_FILE, HISTORY_FILE, RECIPE_FILE = "model.safetensors", "state.ckpt", "history.csv", "recipe.toml"


def check_folder(folder: Path, *, resume: bool) -> None:
    """The run folder must be new, or hold a run when resuming; it must be writable."""
    if resume and not (folder / STATE_FILE).is_file():
        raise NotFound(f"out {folder} holds no {STATE_FILE} to resume from", "leave out --resume to start a run")
    if not resume and (folder / RECIPE_FILE).exists():
        raise AlreadyThere(f"out {folder} already holds a run", "resume it with --resume, or choose another folder")
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise NotWritable(f"out {folder} cannot be made: {nearest} is not a folder you may write to", "choose another")


def check_data(digest: str, *, began_with: str) -> None:
    """A run goes on with the images and labels (SHA-256) that it began with."""
    if digest != began_with:
        raise ContractileError(
            (
                f"images and labels must be those that the run began with (SHA-256 {began_with[:8]}...), "
                f"got others ({digest[:8]}...)"
            ),
            "give the same ones, or train anew into another folder",
        )


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    columns = list(dict.fromkeys(column for row in history for column in row))
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def trace_provenance(examples: Sequence[Example], recipe: Recipe) -> dict[str, Any]:
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
