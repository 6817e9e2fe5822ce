"""A model card in plain words."""

from __future__ import annotations

from contractile.decode import Decoding
from contractile.model import ModelCard
from contractile.report.page import Facts
from contractile.report.scores import format_shape

# keys in the provenance of a card that the page calls something else
PROVENANCE = {
    "data_sha256": "data (SHA-256)",
    "images": "annotated images",
    "torch": "PyTorch",
    "python": "Python",
    "start": "model that it started from",
    "step": "step of the network that was kept",
}


def describe_card(card: ModelCard) -> tuple[Facts, Facts]:
    """What a model is and which images it expects; the data, versions, machine and date that it comes from."""
    told = {
        key: value for key, value in card.provenance.items() if key != "settings"
    }  # the page shows the recipe itself
    origin = ((PROVENANCE.get(key, key.replace("_", " ")), str(value)) for key, value in told.items())
    return Facts("Model", _describe_model(card)), Facts("Where it comes from", tuple(origin))


def _describe_model(card: ModelCard) -> tuple[tuple[str, str], ...]:
    network, intensity = card.network, card.normalization
    kinds = {
        "linear": f"percentiles {intensity.low:g} and {intensity.high:g} become 0 and 1, above the noise",
        "compressive": "background and brightest structures become 0 and 1, on a logarithmic curve above the noise",
        "percentile": f"percentiles {intensity.low:g} and {intensity.high:g} of each image become 0 and 1",
        "standard": "each image gets mean 0 and standard deviation 1",
        "none": "as in the file",
    }
    values = ", ".join(str(value) for value in card.class_values)
    objects = card.task == "objects"
    task = (
        "objects: touching objects get different numbers" if objects else f"classes: every pixel gets one of {values}"
    )
    size = [float(f"{length:.4g}") for length in card.pixel_size_um or ()]
    rows = [
        ("task", task),
        ("network", f"{network.dims}-D U-Net, {network.padding} padding"),
        ("networks", f"{1 + len(card.others)}: the result is the mean of what they say" if card.others else "1"),
        ("width and depth", f"{network.width} channels at the finest level, {network.depth} poolings"),
        ("parameters", f"{network.parameters:,}"),
        ("receptive field", f"{format_shape(network.receptive_field)} pixels"),
        ("image channels", str(network.channels)),
        ("intensities", kinds[intensity.kind]),
        ("pixel size", f"{format_shape(size)} µm" if size else "not known"),
    ]
    if card.symmetry == "square":  # the network's own entry says "none": it is stored as an ordinary one
        rows.append(("symmetry", "the output turns and mirrors with the image, because kernels were tied in training"))
    if card.shrunk > 1:
        rows.append(("resolution", f"images are shrunk by {card.shrunk:g} before the network sees them"))
    if card.diameter is not None:
        rows.append(("size of objects", _describe_size(card)))
    if objects:
        rows.append(("objects", _describe_objects(card.decoding, network.classes)))
    return tuple(rows)


def _describe_size(card: ModelCard) -> str:
    text = f"typically {card.diameter:.0f} pixels across"
    if card.diameters is not None:
        text += f", from {card.diameters[0]:.0f} to {card.diameters[1]:.0f}"
    return text + ("; images with others are resampled to fit" if card.any_size else "")


def _describe_objects(decoding: Decoding, classes: int) -> str:
    text = f"connected pixels with a probability above {decoding.threshold:g}"
    if classes > 2 or decoding.smooth > 0 or decoding.core > decoding.threshold or decoding.split:
        text += f", separated by cores with a probability of class 1 above {decoding.core:g}"
    if decoding.split:
        text += f", which are split where a higher probability gives pieces of at least {decoding.split} pixels"
    if decoding.sure > 0:
        text += f"; objects with a mean probability under {decoding.sure:g} are dropped"
    return text + (f"; objects under {decoding.min_size} pixels are dropped" if decoding.min_size else "")
