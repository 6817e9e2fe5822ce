"""What tiles change, as one picture: the image, a map of differences for each way of tiling, and the margin needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contractile.images.overlay import as_picture
from contractile.prediction.margins import VISIBLE
from contractile.prediction.seams import Seams, Tiling
from contractile.prediction.tilings import Floats, by
from contractile.storage import replacing

LEAST = 1e-7  # the smallest difference that has a colour of its own
COLUMNS = 5
LONGEST = 120  # characters of a title
SHOWN = 480  # pixels along the longer side of a map, at most
WIDTH, HEADING, BAR, DOTS = 3.5, 0.65, 1.0, 110  # inches: a panel, the text above it, the scale; dots per inch
FLATTEST, TALLEST = 0.45, 1.5  # of a panel: height / width
COLOURS = "cividis"  # the same to people who see colours differently
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"  # Okabe and Ito (2008)
STYLE = {"font.size": 9, "axes.titlesize": 10, "text.parse_math": False}
UNSURE = "\N{EN DASH}"


def draw_seams(seams: Seams, path: str | Path, *, title: str = "") -> None:
    """Write a PNG: the image, what tiles change for ours and for other ways, and the margin that the network needs.

    Of volumes the middle slice is shown. Raises NotWritten, NotWritable.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels: list[Tiling | None] = [None, seams.moved, seams.off_grid, None, None, *seams.peers]
    rows = -(-len(panels) // COLUMNS)
    height, width = seams.pixels.shape[-2:]
    tall = WIDTH * min(TALLEST, max(FLATTEST, height / width)) + HEADING
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(COLUMNS * WIDTH + BAR, rows * tall + HEADING), layout="constrained")
        figure.suptitle(_shorten(title or f"what tiles of {by(seams.tile)} pixels change"), fontsize=14)
        grid = figure.add_gridspec(rows, COLUMNS + 1, width_ratios=[1] * COLUMNS + [0.05])
        _show_image(figure.add_subplot(grid[0, 0]), seams)
        for number, tiling in enumerate(panels):
            if tiling is not None:
                shown = _show_map(figure.add_subplot(grid[divmod(number, COLUMNS)]), tiling, seams.objects)
        _show_margins(figure.add_subplot(grid[0, 3:COLUMNS]), seams)
        bar = figure.colorbar(shown, cax=figure.add_subplot(grid[1:, COLUMNS]), extend="min", format=_plain)
        bar.set_label("difference of a probability (black: none)")
        bar.ax.axhline(VISIBLE, color="white", linewidth=1.5)
        bar.ax.annotate("1/256", (0, VISIBLE), xytext=(-4, 0), textcoords="offset points", ha="right", va="center")
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, format="png", dpi=DOTS)


def _shorten(title: str) -> str:
    """The beginning and the end of a long title."""
    return title if len(title) <= LONGEST else f"{title[: LONGEST // 2]} ... {title[-LONGEST // 2 :]}"


def _plain(value: float, _: object = None) -> str:
    return f"{value:g}"


def say_difference(value: float) -> str:
    """A difference of probabilities with two digits."""
    return "0" if value == 0 else f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"


def say_pixels(fraction: float) -> str:
    """A part of all pixels, in per cent; never rounded to nothing."""
    if 0 < fraction < 1e-4:
        return "< 0.01 %"
    return f"{100 * fraction:.0f} %" if fraction >= 0.1 else f"{100 * fraction:.2g} %"


def say_objects(changed: int | None, objects: int | None) -> str:
    """`29 of 272`; of labels without objects a dash."""
    return UNSURE if changed is None else f"{changed} of {objects}"


def _title(tiling: Tiling, objects: int | None) -> str:
    changed = f"{say_pixels(tiling.pixels)} of pixels"
    if tiling.objects is not None:
        changed = f"{say_objects(tiling.objects, objects)} objects"
    return f"{tiling.title}\nlargest {say_difference(tiling.largest)}; {changed} changed"


def _show_image(axes: Any, seams: Seams) -> None:
    pixels, note = seams.pixels, ""
    if pixels.ndim == 4:
        middle = pixels.shape[1] // 2
        pixels, note = pixels[:, middle], f", slice {middle + 1} of {pixels.shape[1]}"
    axes.imshow(as_picture(np.asarray(pixels)), extent=_extent(pixels.shape[1:]))
    axes.set_title(f"the image, {by(seams.pixels.shape[1:])} pixels{note}\nlines: our tiles")
    _finish(axes, seams.whole.lines, pixels.shape[1:])


def _show_map(axes: Any, tiling: Tiling, objects: int | None) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    differences = tiling.differences
    if differences.ndim == 3:
        differences = differences[differences.shape[0] // 2]
    colours = colormaps[COLOURS].with_extremes(under="black", bad="black")
    shown = axes.imshow(
        _shrink(differences),
        norm=LogNorm(LEAST, 1),
        cmap=colours,
        extent=_extent(differences.shape),
        interpolation="nearest",
    )
    axes.set_title(_title(tiling, objects))
    _finish(axes, tiling.lines, differences.shape)
    return shown


def _extent(shape: Sequence[int]) -> tuple[int, int, int, int]:
    return 0, shape[1], shape[0], 0


def _finish(axes: Any, lines: Sequence[Sequence[int]], shape: Sequence[int]) -> None:
    """Lines between tiles, lightly, and no numbers."""
    style = {"color": "white", "linewidth": 0.5, "alpha": 0.45}
    for line in lines[-2]:
        axes.axhline(line, **style)
    for line in lines[-1]:
        axes.axvline(line, **style)
    axes.set(xticks=[], yticks=[], xlim=(0, shape[1]), ylim=(shape[0], 0))


def _shrink(values: Floats) -> Floats:
    """The largest of each square of pixels: a thin line would be lost in a mean."""
    factor = -(-max(values.shape) // SHOWN)
    for axis in (0, 1):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], factor), axis=axis)
    return values


def _show_margins(axes: Any, seams: Seams) -> None:
    """The largest difference by the margin that is dropped; axes of space with the same margins share their marks."""
    found = seams.margins
    names = ("Z", "Y", "X")[-len(found.kept) :]
    for name, curve, style in zip(names[::-1], found.curves[::-1], ("-", "--", ":"), strict=False):
        axes.plot(np.maximum(curve, LEAST), style, color=BLUE, label=f"along {name}", drawstyle="steps-post")
    marks = (
        ("needed for 1/256", found.visible, ORANGE),
        ("needed", found.needed, PINK),
        ("kept by us", found.kept, GREEN),
    )
    for word, margin, colour in marks:
        axes.axvline(max(margin), color=colour, linewidth=2, label=f"{word}: {say_sides(margin)}")
    axes.axhline(VISIBLE, color="grey", linewidth=0.8, linestyle=":")
    axes.set(
        yscale="log", ylim=(LEAST, 2), xlabel="pixels dropped at each border of a tile", ylabel="largest difference"
    )
    axes.yaxis.set_major_formatter(_plain)
    axes.set_title(f"The margin: zeros beyond a tile are felt {say_sides(found.needed)} pixels deep")
    axes.legend(loc="lower left", fontsize=9)


def say_sides(sides: Sequence[int]) -> str:
    """One number where all are the same, else all of them: `48 x 96 x 96`."""
    return str(sides[0]) if len(set(sides)) == 1 else by(sides)
