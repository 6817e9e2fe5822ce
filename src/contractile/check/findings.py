"""What the data doctor can find: each complaint, how bad it is, and its cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
SHOWN = 3  # files named before "and N more"


@dataclass(frozen=True)
class Finding:
    """One fault. An `error` stops training, a `warning` makes it worse, a `note` is for information.

    `where` names the file or files.
    """

    level: Level
    where: str
    problem: str
    cure: str


class Complaint(NamedTuple):
    level: Level
    problem: str  # {} is replaced by the detail of the first file
    cure: str


COMPLAINTS: dict[str, Complaint] = {
    "size": Complaint("error", "image and labels differ in size: {}", "crop or resample one of them"),
    "channels": Complaint("error", "images have different numbers of channels: {}", "convert them to one kind"),
    "grey": Complaint(
        "error",
        "labels look like a picture of a mask ({} grey values at the edges, from JPEG or a smoothed outline)",
        "check --fix DIR cuts them halfway between the two main values; draw masks without smoothing",
    ),
    "picture": Complaint(
        "error",
        "labels look like a photograph ({} grey values, hardly any area of one value)",
        "check that images and labels are not swapped; save object numbers, not a rendering of them",
    ),
    "one value": Complaint(
        "error", "labels hold the single value {} in every file", "check that these are the annotations"
    ),
    "unlabelled": Complaint(
        "warning", "image without labels; it is left out", "annotate it, name its labels like it, or ignore this"
    ),
    "constant": Complaint("warning", "every pixel of channel {} has one value", "leave the image out"),
    "saturated": Complaint(
        "warning", "{} of the pixels are at the camera's upper limit", "record with less light or a shorter exposure"
    ),
    "duplicate": Complaint("warning", "the same pixels as {}", "keep one: a copy in validation raises the score"),
    "duplicate labels": Complaint(
        "warning", "the same labels as {}, but another image", "check that each image has its own annotation"
    ),
    "types": Complaint("warning", "images of different types: {}", "export all with the same settings"),
    "pixel sizes": Complaint(
        "warning", "images of different pixel sizes: {} um", "resample them to one size: objects must look alike"
    ),
    "empty": Complaint(
        "warning", "nothing is annotated (every label is {})", "leave the file out, unless the image is really empty"
    ),
    "split": Complaint(
        "warning", "one number for several pieces far apart: {}", "check --fix DIR gives each piece its own number"
    ),
    "specks": Complaint("warning", "specks, too small to be objects: {}", "check --fix DIR removes them"),
    "mask": Complaint(
        "note",
        "labels have two values, so objects that touch count as one{}",
        "give each object its own number if that matters",
    ),
    "gaps": Complaint("note", "numbers are not consecutive: {}", "nothing to do: training accepts them"),
    "ignored": Complaint("note", "{} of the pixels are marked as not annotated", "nothing to do: they are left out"),
    "few": Complaint("note", "only {} annotated image(s)", "annotate a second one: validation cuts this one in two"),
}


class Spot(NamedTuple):
    """A complaint about one file, and the detail that goes into its text."""

    kind: str
    where: str
    detail: str = ""


def gather(spots: Iterable[Spot]) -> list[Finding]:
    """One finding for each kind of complaint, which names the first files."""
    by_kind: dict[str, list[Spot]] = {}
    for spot in spots:
        by_kind.setdefault(spot.kind, []).append(spot)
    return [_describe(kind, found) for kind, found in by_kind.items()]


def _describe(kind: str, spots: list[Spot]) -> Finding:
    complaint = COMPLAINTS[kind]
    names = ", ".join(spot.where for spot in spots[:SHOWN])
    more = f" and {len(spots) - SHOWN} more" if len(spots) > SHOWN else ""
    detail = spots[0].detail + (", ..." if len(spots) > 1 and spots[0].detail else "")
    return Finding(complaint.level, names + more, complaint.problem.format(detail), complaint.cure)
