"""Draws the pictures of the pages on the science: `python -m docs.tools.pictures`, in the folder of the Makefile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from contractile.synthetic import SceneConfig, draw_scene
from contractile.targets import TargetConfig, make_target

FOLDER = Path(__file__).parents[1] / "science"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"


def draw_targets(path: Path) -> None:
    """An image, its labels, and what the network is asked to learn from them, in the two ways."""
    image, labels = draw_scene(SceneConfig(shape=(96, 96), coverage=0.6), np.random.default_rng(4))
    colours = np.random.default_rng(1).random((labels.max() + 1, 3)) * 0.7 + 0.3
    colours[0] = 0
    gap = make_target(labels, TargetConfig(separation="gap", balance=False))
    contact = make_target(labels, TargetConfig(separation="contact", balance=False))
    panels: list[tuple[str, Any, dict[str, Any]]] = [
        ("image", image[0], {"cmap": "gray"}),
        ("labels", colours[labels], {}),
        ("paper: inside and gap", gap.classes, {"cmap": "gray"}),
        ("default: core and contact", contact.classes, {"cmap": "viridis"}),
        ("weight of each pixel", gap.weight, {"cmap": "magma"}),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(12.5, 2.6), layout="constrained")
    for axis, (title, values, options) in zip(axes, panels, strict=True):
        shown = axis.imshow(values, interpolation="nearest", **options)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, fraction=0.015, pad=0.01)
    _save(figure, path)


def draw_tiles(path: Path) -> None:
    """One tile in the middle of an image and one at its corner: what each reads, and what it writes."""
    side, rim, columns, rows = 200, 60, 4, 3
    width, height = columns * side, rows * side
    figure, axis = plt.subplots(figsize=(7.6, 5.4))
    axis.add_patch(Rectangle((0, 0), width, height, facecolor="#eeeeee", edgecolor="black", lw=1.5))
    for x in range(side, width, side):
        axis.plot([x, x], [0, height], color=GREY, lw=0.8)
    for y in range(side, height, side):
        axis.plot([0, width], [y, y], color=GREY, lw=0.8)
    for x, y, colour, words in ((1, 1, BLUE, "true neighbours"), (3, 0, ORANGE, "mirror image\nbeyond the image")):
        left, low = x * side, y * side
        axis.add_patch(Rectangle((left, low), side, side, facecolor=colour, alpha=0.35))
        around = (left - rim, low - rim), side + 2 * rim, side + 2 * rim
        axis.add_patch(Rectangle(*around, fill=False, edgecolor=colour, lw=2, ls="--"))
        middle = (left + side / 2, low + side / 2)
        axis.text(*middle, f"writes this,\nreads the\ndashed square:\n{words}", ha="center", va="center", fontsize=8)
    axis.text(10, height - 10, "image", va="top", fontsize=9)
    axis.annotate("", (side - rim, 300), (side, 300), arrowprops={"arrowstyle": "<->"})
    axis.text(side - rim / 2, 308, "margin", ha="center", va="bottom", fontsize=8)
    axis.set_xlim(-20, width + rim + 20)
    axis.set_ylim(-rim - 20, height + 20)
    axis.set_aspect("equal")
    axis.set_axis_off()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    draw_targets(FOLDER / "targets.png")
    draw_tiles(FOLDER / "tiles.png")
