"""Plot the scores of sessions of `annotator.py` against minutes, a panel for each dataset.

python benchmarks/plot_annotator.py DIR/dsb2018 DIR/dic-hela ... --out docs/annotator.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# what is drawn of each mark: its name in results.json, as it is called in the legend, and its style
CURVES = (
    ("network", "the page's network", {"color": "#d55e00", "marker": "o", "linewidth": 2.5}),
    ("forest", "a random forest, same strokes", {"color": "#0072b2", "marker": "s"}),
    ("everything", "the network, all images outlined", {"color": "#777777", "marker": "^", "linestyle": "--"}),
    (
        "outlines",
        "the network, 1.5 times as many objects or more, alone",
        {"color": "#009e73", "marker": "D"},
    ),
)
NAMES = {"ap": "AP at IoU 0.5", "v_rand": "V_Rand"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sessions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    figure = Figure(figsize=(3.2 * len(given.sessions), 3.6), layout="constrained")
    panels = figure.subplots(1, len(given.sessions), squeeze=False)[0]
    for axes, place in zip(panels, given.sessions, strict=True):
        draw(axes, place.name, json.loads((place / "results.json").read_text())["marks"])
    lines, words = panels[0].get_legend_handles_labels()
    figure.legend(lines, words, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(given.out, dpi=120)


def draw(axes: Axes, title: str, marks: Sequence[dict[str, Any]]) -> None:
    """The curves of one session."""
    score = next(name for name in NAMES if name in marks[0]["forest"])
    for key, label, style in CURVES:
        points = [(mark["minutes"], mark[key][score]) for mark in marks if mark.get(key)]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set(title=title, xlabel="minutes of a person", ylabel=NAMES[score], ylim=(0, 1), xscale="log")
    axes.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
