"""A table of the objects found: where each lies, how large and bright it is, how sure the network was."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode import inside_probability
from contractile.images import Stack
from contractile.labels import renumber
from contractile.storage import replacing

AXES = ("z", "y", "x")
UNNAMED = "QI"  # letters of axes that only count


def tabulate_objects(
    labels: NDArray[np.int32],
    pixels: NDArray[Any],
    probabilities: NDArray[np.float32],
    *,
    pixel_size_um: Sequence[float] | None = None,
) -> dict[str, NDArray[Any]]:
    """Columns of equal length, one entry per object in the order of the ids.

    Of labels (*S), image (C, *S) and probabilities (K, *S):

    `id`; `area_px` (in 3-D `volume_px`); `centroid_y_px`, ...; `box_top_px`, `box_left_px`, `box_bottom_px`,
    `box_right_px` (in 3-D first `box_front_px`, `box_back_px`), the last ones beyond the object;
    `mean_intensity` (of each channel, where there are several); `mean_probability` of being inside an object, in
    [0, 1]. With a pixel size, area and centroid follow in micrometres.
    """
    from skimage.measure import regionprops_table  # slow to load, and not every prediction is measured

    axes = AXES[-labels.ndim :]
    measured = regionprops_table(
        renumber(labels),  # memory would follow the largest id
        np.moveaxis(np.concatenate([pixels.astype(np.float64), inside_probability(probabilities)[None]]), 0, -1),
        properties=("label", "area", "centroid", "bbox", "mean_intensity"),
    )
    size = "area" if labels.ndim == 2 else "volume"
    ids = np.unique(labels[labels > 0])
    columns = {"id": ids[measured["label"] - 1], f"{size}_px": measured["area"].astype(np.int64)}
    columns |= {f"centroid_{axis}_px": measured[f"centroid-{i}"] for i, axis in enumerate(axes)}
    sides = (("front", "back"), ("top", "bottom"), ("left", "right"))[-labels.ndim :]
    for end, first in enumerate((0, labels.ndim)):
        columns |= {f"box_{pair[end]}_px": measured[f"bbox-{first + i}"] for i, pair in enumerate(sides)}
    channels = len(pixels)
    for channel in range(channels):
        name = "mean_intensity" if channels == 1 else f"mean_intensity_{channel}"
        columns[name] = measured[f"mean_intensity-{channel}"]
    columns["mean_probability"] = measured[f"mean_intensity-{channels}"]
    if pixel_size_um is not None:
        columns[f"{size}_um{labels.ndim}"] = measured["area"] * np.prod(pixel_size_um)
        for i, axis in enumerate(axes):
            columns[f"centroid_{axis}_um"] = measured[f"centroid-{i}"] * pixel_size_um[i]
    return columns


def write_objects(path: Path, pages: Sequence[dict[str, NDArray[Any]]], *, stack: Stack | None = None) -> None:
    """Write the columns of one image, or those of the pages of a `stack`, as CSV: numbers with six digits.

    In front of those of a stack are `page` (from 0) and the places along the axes that have a name, such as `t` and `z`
    (from 0). Raises NotWritten, NotWritable.
    """
    names, places = _places(stack)
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *pages[0]])
        for place, columns in zip(places, pages, strict=True):
            for row in zip(*columns.values(), strict=True):
                writer.writerow(
                    [*place, *(value if isinstance(value, np.integer) else f"{value:.6g}" for value in row)]
                )


def _places(stack: Stack | None) -> tuple[list[str], list[tuple[int, ...]]]:
    """The columns that say where a page is, and their values for each page."""
    if stack is None:
        return [], [()]
    named = [number for number, letter in enumerate(stack.axes) if letter not in UNNAMED]
    places = enumerate(np.ndindex(*stack.lengths))
    names = ["page", *(stack.axes[number].lower() for number in named)]
    return names, [(page, *(place[number] for number in named)) for page, place in places]
