"""A model card in words."""

from __future__ import annotations

from collections.abc import Sequence

from contractile.model import ModelCard
from contractile.report.page import Facts
from contractile.report.scores import format_shape

# key of a card's provenance -> what to call it
PROVENANCE = {
    "data_sha256": "data (SHA-256)",
    "images": "annotated images",
    "recipe": "recipe",
    "contractile": "contractile",
    "torch": "PyTorch",
    "python": "Python",
    "machine": "machine",
    "device": "device",
    "date": "date",
    "steps": "steps",
    "step": "step of the network that was kept",
    "seed": "seed",
}


def describe_card(card: ModelCard) -> tuple[Facts, Facts]:
    """What a model is and expects; the data, versions, machine and date that it comes from."""
    return Facts("Model", _describe_model(card)), Facts("Where it comes from", _describe_provenance(card))


def _describe_model(card: ModelCard) -> tuple[tuple[str, str], ...]:
    network, decoding = card.network, card.decoding
    intensity = card.normalization
    kinds = {
        "percentile": f"percentiles {intensity.low:g} and {intensity.high:g} of each image to 0 and 1",
        "standard": "each image to mean 0 and deviation 1",
        "none": "as in the file",
    }
    rows = [
        ("task", _describe_task(card)),
        ("network", f"{network.dims}-D U-Net, {network.padding} padding"),
        ("width and depth", f"{network.width} channels, {network.depth} poolings"),
        ("parameters", f"{network.parameters:,}"),
        ("receptive field", f"{network.receptive_field} pixels"),
        ("channels", str(network.channels)),
        ("intensities", kinds[intensity.kind]),
        ("pixel size", _describe_pixel(card.pixel_size_um)),
    ]
    if card.task == "objects":
        least = f", of at least {decoding.min_size} pixels" if decoding.min_size else ""
        around = f", around cores where that of class 1 exceeds {decoding.core:g}" if network.classes > 2 else ""
        rows.append(("objects", f"connected where the probability exceeds {decoding.threshold:g}{around}{least}"))
    return tuple(rows)


def _describe_provenance(card: ModelCard) -> tuple[tuple[str, str], ...]:
    known = [(PROVENANCE[key], str(card.provenance[key])) for key in PROVENANCE if key in card.provenance]
    others = [(key.replace("_", " "), str(value)) for key, value in card.provenance.items() if key not in PROVENANCE]
    return (*known, *others)


def _describe_task(card: ModelCard) -> str:
    if card.task == "objects":
        return "objects: touching things get different numbers"
    return f"classes: every pixel gets one of {', '.join(str(value) for value in card.class_values)}"


def _describe_pixel(size: Sequence[float] | None) -> str:
    return f"{format_shape([float(f'{length:.4g}') for length in size])} µm" if size else "not known"
