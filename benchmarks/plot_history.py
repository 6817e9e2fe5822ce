"""Plot validation scores of runs against minutes.

python benchmarks/plot_history.py RUN [RUN ...] --score v_rand --out docs/curve.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--score", default="v_rand")
    parser.add_argument("--labels", nargs="*", help="one name per run")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes on two CPU cores", ylabel=arguments.score)
    for run, label in zip(arguments.runs, arguments.labels or [run.name for run in arguments.runs], strict=True):
        axes.plot(*read_curve(run / "history.csv", f"val_{arguments.score}"), marker="o", label=label)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(arguments.out, dpi=120)


def read_curve(path: Path, column: str) -> tuple[list[float], list[float]]:
    """(minutes, score) of every validation; the clock is that of the latest step before it."""
    minutes, scores, now = [], [], 0.0
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            now = float(row["seconds"]) / 60 if row["seconds"] else now
            if row.get(column):
                minutes.append(now)
                scores.append(float(row[column]))
    return minutes, scores


if __name__ == "__main__":
    main()
