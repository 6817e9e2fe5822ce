"""What somebody has to know who runs an exported network: as short entries, and as a page."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contractile.decode import Decoding
from contractile.decode.cores import COVERED, THRESHOLDS
from contractile.errors import printable
from contractile.export.frame import Tiles
from contractile.export.rule import Rule
from contractile.model import Model, ModelCard

PAPER = "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation (MICCAI 2015)"
PAPER_DOI = "10.1007/978-3-319-24574-4_28"


@dataclass(frozen=True)
class Facts:
    """A model, and how other programs run it."""

    model: Model
    tiles: Tiles
    rule: Rule

    @property
    def card(self) -> ModelCard:
        return self.model.card

    @property
    def axes(self) -> str:
        """The letters of *S."""
        return "zyx"[-self.card.network.dims :]

    @property
    def channels(self) -> list[str]:
        """Names of the channels that go in."""
        return [f"channel{number}" for number in range(self.card.network.channels)]

    @property
    def classes(self) -> list[str]:
        """Names of the channels that come out: those of the annotations where the card has them."""
        count = self.card.network.maps
        if self.card.task == "classes":
            values = [f"class_{value}".replace("-", "minus_") for value in self.card.class_values]
            return [printable(name) for name in self.card.class_names] or values
        known = {2: ["outside", "inside"], 3: ["outside", "core", "rim"]}
        return known.get(count, ["outside", "core", *(f"rim{number}" for number in range(2, count))])

    @property
    def identifiers(self) -> list[str]:
        """The names of the channels that come out, as a package may hold them."""
        return as_identifiers(self.classes)

    @property
    def pixel_size_um(self) -> tuple[float, ...] | None:
        """Of the images that the network wants, along each axis."""
        size = self.card.pixel_size_um
        return None if size is None else tuple(one * self.card.shrunk for one in size)


def as_identifiers(names: Sequence[str]) -> list[str]:
    """Names that are identifiers of Python and differ from each other, as like the given ones as they can be.

    Earlier versions of bioimageio.spec take no others as names of channels.
    """
    found: list[str] = []
    for number, name in enumerate(names):
        legal = "".join(one if f"_{one}".isidentifier() else "_" for one in name)
        if not legal.isidentifier() or keyword.iskeyword(legal):
            legal = f"class_{legal}"
        while legal in found:
            legal = f"{legal}_{number}"
        found.append(legal)
    return found


def entries(facts: Facts) -> dict[str, str]:
    """What to know, by name: the metadata of an ONNX file."""
    card, tiles = facts.card, facts.tiles
    known = {
        "summary": card.description or f"U-Net for {card.task}, trained with contractile",
        "axes": f"batch, channel, {', '.join(facts.axes)}; batch and sizes are free",
        "input": f"float32, {card.network.channels} channel(s); preprocessing: {facts.rule}",
        "output": "float32, as large as the input: class probabilities, which add up to 1 (soft-max is inside)",
        "classes": json.dumps(facts.classes),
        "sizes": f"multiples of {_each(facts.axes, tiles.step)}, at least {_each(facts.axes, tiles.least)} pixels",
        "halo": f"{_each(facts.axes, tiles.halo)} pixels at each end of a tile are to be dropped; blocks between them "
        f"must begin at multiples of {_each(facts.axes, tiles.step)} in the image; mirror the image at its border",
        "step_pixels": json.dumps(tiles.step),
        "least_pixels": json.dumps(tiles.least),
        "halo_pixels": json.dumps(tiles.halo),
        "percentiles": json.dumps([facts.rule.low, facts.rule.high] if facts.rule.kind == "percentiles" else None),
        "pixel_size_um": json.dumps(facts.pixel_size_um),
        "object_diameter_pixels": json.dumps(card.diameter),
        "task": card.task,
        "objects": _decoding(card),
        "card": card.model_dump_json(exclude={"confidence", "calibration", "likeness"}),
    }
    return {name: text for name, text in known.items() if text}


def write_page(facts: Facts, *, name: str, changed: float, test: Sequence[str]) -> str:
    """The documentation of a package, in Markdown. `changed` is the part of labels that the rule changes.

    `test` says how far the weights are from the model's own probabilities, a line for each form.
    """
    return "\n".join([f"# {name}", "", *_lines(facts, changed, test), ""])


def _lines(facts: Facts, changed: float, test: Sequence[str]) -> Iterator[str]:
    card, known = facts.card, entries(facts)
    yield from (known["summary"], "", "## What goes in", "")
    yield f"- Axes: {known['axes']}."
    yield f"- Channels: {card.network.channels}, in the order of the training images."
    yield f"- Sizes: {known['sizes']}."
    yield from _sizes(facts)
    yield f"- Grey values: {facts.rule}. {_say_rule(facts.rule)}"
    if facts.rule.kind != "none":
        yield f"- On the test image this rule gives {100 * changed:.2g} % of the pixels another class than the curve of"
        yield "  contractile itself, which also looks at noise, defects and padding."
    yield from ("", "## What comes out", "")
    yield f"- {known['output'][0].upper()}{known['output'][1:]}. Channels: {', '.join(facts.classes)}."
    yield f"- Halo: {known['halo']}. A program that reads this package does so itself."
    yield from (f"- {line}" for line in ([known["objects"]] if "objects" in known else []))
    yield from ("", "## Validation", "")
    yield from _scores(card)
    yield "Before this package was written, its weights were run tile by tile on the test image. Their probabilities"
    yield from ("differ from those of the model itself by at most", "")
    yield from (f"- {line}" for line in test)
    yield from ("", f"Cite: {PAPER}, doi:{PAPER_DOI}.")


def _sizes(facts: Facts) -> Iterator[str]:
    card, size = facts.card, facts.pixel_size_um
    if size is not None:
        yield f"- Pixels of {_each(facts.axes, size)} micrometres: resample other images first."
    if card.shrunk != 1:
        yield f"- Images like those that it was trained on are shrunk {card.shrunk:g} times first."
    if card.diameter is not None:
        yield f"- Objects about {card.diameter:.3g} pixels wide: resample images whose objects have another size."


def _say_rule(rule: Rule) -> str:
    if rule.looks_at_image:
        return (
            "A program that finds these statistics in each tile (QuPath does) gives seams and other results: scale the "
            "image first, or export the model with fixed grey values."
        )
    if rule.kind == "fixed":
        return "So images must be taken with the same settings as the test image."
    return "So images must have the range of the training images."


def _scores(card: ModelCard) -> Iterator[str]:
    if not card.scores:
        yield "The model knows no scores of its own. Score it on annotated images that it has not learned from:"
    else:
        told = ", ".join(f"{name} {value:.3f}" for name, value in card.scores.items())
        yield f"Scores on the validation images, which it has not learned from: {told}. To score it on other images:"
    yield from ("", "    contractile evaluate PREDICTED TRUTH", "")


def _decoding(card: ModelCard) -> str:
    """How objects are made of probabilities; empty for classes."""
    if card.task != "objects":
        return ""
    decoding = card.decoding
    blurred = f", blurred with a sigma of {decoding.smooth:g} pixels," if decoding.smooth else ""
    return (
        f"Objects: a pixel is inside where 1 - outside exceeds {decoding.threshold:g}; each connected part where "
        f"channel 1{blurred} exceeds {decoding.core:g} is the core of one object, and grows over the inside around it "
        f"(a watershed){_split(decoding)}; objects of fewer than {decoding.min_size} pixels are dropped. `contractile "
        "predict` does this."
    )


def _split(decoding: Decoding) -> str:
    steps = " or ".join(f"{one:g}" for one in THRESHOLDS if one > decoding.core)
    if not decoding.split or not steps:
        return ""
    return (
        f"; before, a core is split at the lowest of {steps} that gives at least two pieces of {decoding.split} pixels "
        f"or more which cover {COVERED} % of it, and these pieces are split in the same way"
    )


def _each(axes: str, values: Sequence[float]) -> str:
    """`16` where all axes have the same value, else `2 (z), 16 (y), 16 (x)`."""
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return ", ".join(f"{value:g} ({axis})" for axis, value in zip(axes, values, strict=True))
