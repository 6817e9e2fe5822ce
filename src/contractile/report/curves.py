"""The history of a run as curves: inline SVG with the colours of the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from contractile.metrics.metric import Floats
from contractile.report.scores import is_error, name_of

History = Sequence[Mapping[str, float]]
Kind = Literal["loss", "rate", "scores"]

SIZE_INCHES = (5.3, 3.3)
SMOOTHING = 0.015  # standard deviation of the Gaussian that smooths the loss, as a fraction of the length of the curve
LOG_FROM = 10  # the axis is logarithmic where the largest loss is more than so many times the smallest
PREFIX = "val_"
# Placeholders, replaced by the colours that the style of the page defines.
INK, FAINT = "#00000a", "#00000b"
SERIES = ("#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5", "#0000a6")
VARIABLES = {INK: "var(--soft)", FAINT: "var(--line)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)
}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "contractile", "font.size": 10, "text.parse_math": False}


@dataclass(frozen=True)
class Curve:
    """One drawing: `svg` is markup, `caption` is plain text."""

    title: str
    svg: Any
    caption: str = ""


def draw_curves(
    history: History, *, steering: str | None = None, kept: float | None = None, note: str = ""
) -> tuple[Curve, ...]:
    """Loss, learning rate, validation scores and validation errors against steps and minutes.

    Rows of `history` hold `step` and either `seconds`, `loss` and `learning_rate`, or `val_NAME` scores. `kept` is the
    step of the network that was kept; it is marked, with the value of the score `steering` that decided this. `note`
    follows in the caption. Curves without a row are left out, and of many scores only the first are drawn.
    """
    curves = []
    if loss := _columns(history, ["loss"]):
        caption = "Faint line: mean since the last record. Bold line: smoothed."
        curves.append(Curve("Loss", _draw(loss, history, kind="loss"), caption))
    if rate := _columns(history, ["learning_rate"]):
        curves.append(Curve("Learning rate", _draw(rate, history, kind="rate")))
    found = dict.fromkeys(key for row in history for key in row if key.startswith(PREFIX))
    names = sorted(found, key=lambda name: name != f"{PREFIX}{steering}")
    score = find_score(history, steering, kept)
    for title, wanted in (("Validation scores", False), ("Validation errors", True)):
        chosen = [name for name in names if is_error(name.removeprefix(PREFIX)) == wanted][: len(SERIES)]
        if chosen:
            drawn = _draw(_columns(history, chosen), history, kind="scores", mark=None if score is None else kept)
            caption = "Lower is better." if wanted else f"{_describe_kept(kept, score, steering)} {note}".strip()
            curves.append(Curve(title, drawn, caption))
    return tuple(curves)


def find_score(history: History, steering: str | None, step: float | None) -> float | None:
    """The validation score `steering` at a step, or None where it was not measured."""
    column = f"{PREFIX}{steering}"
    return next((row[column] for row in history if row["step"] == step and column in row), None)


def read_clock(history: History) -> tuple[Floats, Floats] | None:
    """(steps, minutes), both rising, or None for fewer than two times. The minutes of a resumed run are added up."""
    rows = [(row["step"], row["seconds"] / 60) for row in history if "seconds" in row]
    if len(rows) < 2:
        return None
    steps, minutes = np.array(rows, np.float64).T
    gains = np.diff(minutes)
    gains = np.maximum(np.where(gains < 0, minutes[1:], gains), 1e-6)
    minutes = minutes[0] + np.concatenate([[0.0], np.cumsum(gains)])
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(steps)) > 0])
    steps, minutes = steps[keep], minutes[keep]
    return (steps, minutes) if len(steps) > 1 else None


def _columns(history: History, names: Sequence[str]) -> dict[str, tuple[Floats, Floats]]:
    """(steps, values) by name, for the names that occur."""
    found = {}
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        if points:
            steps, values = np.array(points, np.float64).T
            found[name] = (steps, values)
    return found


def _draw(
    columns: Mapping[str, tuple[Floats, Floats]], history: History, *, kind: Kind, mark: float | None = None
) -> Any:
    """Columns over steps as SVG markup; a dashed line marks the step `mark`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        _dress(axes, history)
        for (name, points), colour in zip(columns.items(), SERIES, strict=False):
            _plot(axes, points, kind, {"color": colour, "label": name_of(name.removeprefix(PREFIX))})
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if mark is not None:
            axes.axvline(mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        if kind == "scores":
            figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=9)
        return _to_markup(figure)


def _plot(axes: Any, points: tuple[Floats, Floats], kind: Kind, style: Mapping[str, str]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    steps, values = points
    if kind == "loss":
        axes.plot(steps, values, color=style["color"], alpha=0.35, linewidth=0.9)
        axes.plot(steps, smooth(values), linewidth=1.8, **style)
        if values.min() > 0 and values.max() > LOG_FROM * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        return
    marker = "o" if kind == "scores" or len(values) == 1 else ""
    axes.plot(steps, values, linewidth=1.6, marker=marker, markersize=3.5, **style)
    if kind == "rate":
        axes.set_ylim(bottom=0)


def smooth(values: Floats) -> Floats:
    """Values (N,), each averaged with its neighbours, weighted by a Gaussian; at the ends over those that exist."""
    from scipy.ndimage import gaussian_filter1d

    width = SMOOTHING * len(values)
    weights = gaussian_filter1d(np.ones_like(values), width, mode="constant")
    return np.asarray(gaussian_filter1d(values, width, mode="constant") / weights, np.float64)


def _dress(axes: Any, history: History) -> None:
    """Axes with steps below, minutes above and a faint grid."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.tick_params(which="both", colors=INK, length=0)
    axes.set_xlabel("steps", color=INK)
    last = max(row["step"] for row in history)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    clock = read_clock(history)
    if clock is None:
        return
    steps, minutes = clock
    above = axes.secondary_xaxis(
        "top", functions=(lambda x: _follow(x, steps, minutes), lambda x: _follow(x, minutes, steps))
    )
    above.spines["top"].set_visible(False)
    above.tick_params(colors=INK, length=0)
    above.set_xlabel("minutes", color=INK)


def _follow(x: Any, known: Floats, values: Floats) -> Floats:
    """Linear interpolation, continued at both ends with the mean slope."""
    x = np.asarray(x, np.float64)
    slope = (values[-1] - values[0]) / (known[-1] - known[0])
    beyond = slope * (np.minimum(x - known[0], 0) + np.maximum(x - known[-1], 0))
    return np.asarray(np.interp(x, known, values) + beyond, np.float64)


def _to_markup(figure: Any) -> Any:
    """The figure as inline SVG without declarations, ids or comments; its colours are variables of the page."""
    from markupsafe import Markup

    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)


def _describe_kept(step: float | None, score: float | None, steering: str | None) -> str:
    if score is None:
        return "Higher is better."
    return f"{name_of(steering or '')} {score:.3f} at step {step:.0f} (dashed line): this network was kept."
