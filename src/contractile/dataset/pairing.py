"""Images and their annotations on disk -> pairs.

Images and labels may be two folders, two globs, two stacks of pages, or folders of the Cell Tracking Challenge (`01`
beside `01_GT/SEG` or `01_ST/SEG`). They are paired by name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images import Source, find, match_names

logger = logging.getLogger(__name__)

SHOWN_NAMES = 3


@dataclass(frozen=True)
class Pair:
    """An image and its labels on disk."""

    name: str
    image: Source
    labels: Source


def pair_up(images: str | Path, labels: str | Path, *, dims: int = 2) -> list[Pair]:
    """Match images and labels by name, in natural order (t2 before t10).

    Names match as a whole ("a.tif", "a.png"), without words such as image, raw, mask, labels ("a_img", "a_mask"), or
    by their numbers ("t007", "man_seg007"). One image and one label file always match, and two files of equally many
    pages match page by page. Images without labels are left out with a warning. Raises ContractileError when nothing
    matches, or when labels have no image; and as `find`.
    """
    pictures, truths = find(images, dims=dims), find(_label_folder(labels), dims=dims)
    matched = _match(pictures, truths)
    if not matched:
        sides = f"{len(pictures)} image(s) in {images} ({_some(pictures)}) and {len(truths)} label file(s)"
        problem = f"no pairs found: {sides} in {labels} ({_some(truths)}) share no names"
        raise ContractileError(problem, "name each label file like its image", where=labels)
    taken = {pair.labels for pair in matched}
    orphans = [truth for truth in truths if truth not in taken]
    if orphans:
        problem = f"labels without an image in {images}: {_some(orphans)} ({len(orphans)} of {len(truths)})"
        raise ContractileError(problem, "add the images, or move these label files away", where=labels)
    if len(matched) < len(pictures):
        logger.warning("%d of %d images have no labels and are left out", len(pictures) - len(matched), len(pictures))
    return matched


def _label_folder(labels: str | Path) -> str | Path:
    """The folder SEG in `labels` where there is one: the Cell Tracking Challenge keeps its masks there."""
    inner = Path(labels) / "SEG"
    return inner if inner.is_dir() else labels


def _match(images: Sequence[Source], labels: Sequence[Source]) -> list[Pair]:
    if len(images) == len(labels) and len({one.path for one in images}) == len({one.path for one in labels}) == 1:
        return [Pair(one.name, one, other) for one, other in zip(images, labels, strict=True)]  # page by page
    by_name = {source.name: source for source in labels}
    partners = match_names([source.name for source in images], [source.name for source in labels])
    return [Pair(one.name, one, by_name[partners[one.name]]) for one in images if one.name in partners]


def _some(sources: Sequence[Source]) -> str:
    names = ", ".join(source.name for source in sources[:SHOWN_NAMES])
    return names + (", ..." if len(sources) > SHOWN_NAMES else "")
