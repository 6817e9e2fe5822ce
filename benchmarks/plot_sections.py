"""Plot what networks reach after equal time against the number of sections they learned from, from RESULTS.md.

python benchmarks/plot_sections.py --minutes 6 --out docs/sections.png
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

from accuracy import COLUMNS, HEADING, RESULTS
from matplotlib.figure import Figure

SCORES = (0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--score", default="v_rand")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    curves = read_rows(RESULTS.read_text(encoding="utf-8"), arguments.minutes, arguments.score)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="annotated sections", ylabel=f"{arguments.score} on sections 24-29", xscale="log")
    for recipe, points in curves.items():
        axes.plot(*zip(*sorted(points.items()), strict=True), marker="o", label=recipe)
    axes.set_yscale("logit")  # 0.98 and 0.99 as far apart as 0.9 and 0.95
    ticks = sorted({sections for points in curves.values() for sections in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks(SCORES, [f"{score:g}" for score in SCORES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(
        frameon=False,
        title=f"{arguments.minutes:g} minutes,\ntwo CPU cores",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    figure.savefig(arguments.out, dpi=120)


def read_rows(text: str, minutes: float, score: str) -> dict[str, dict[int, float]]:
    """recipe -> sections -> score, of the rows of isbi2012 that were given so many minutes."""
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for line in text.split(HEADING)[1].splitlines():
        cells = dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=False))
        data = re.fullmatch(r"isbi2012-(\d+)", cells.get("data", ""))
        if data and cells["minutes"] == f"{minutes:g}":
            value = re.search(rf"\b{score} ([\d.]+)", cells["scores"])
            curves[cells["recipe"]][int(data[1])] = float(value[1]) if value else float("nan")
    return curves


if __name__ == "__main__":
    main()
