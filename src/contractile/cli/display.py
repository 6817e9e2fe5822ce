"""What the terminal shows: the log, progress bars, tables of scores."""

from __future__ import annotations

import logging
import re
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.table import Table

    from contractile.evaluation import Comparison, Evaluation
    from contractile.prediction import Written
    from contractile.training import Status

# characters that steer a terminal, or that no terminal can show: control, direction of writing, half a pair
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SILENT_SECONDS = 30.0  # between two lines of a log that say how far the work is
NARROWEST = 60  # columns in which the numbers of a table are still whole
TELLING = ("contractile.recipe", "contractile.evaluation")  # rooms that say what they chose or took files for


def visible(text: object) -> str:
    """The text on one line, with escapes for what the name of a file may hold to steer a terminal."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return visible(super().formatMessage(record))


class Lines(logging.Handler):
    """The log on standard error; while a progress bar is shown, rich puts the lines above it.

    Shown are warnings, what was chosen for the data, and what predictions were taken for; with `verbose` all lines, and
    the module of each.
    """

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self.setFormatter(_OneLine("%(name)s: %(message)s" if verbose else "%(message)s"))
        self.addFilter(lambda record: verbose or record.levelno >= logging.WARNING or record.name.startswith(TELLING))

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


class Bar:
    """A progress bar on standard error, which appears with the first step: above an early error there is none.

    Where standard error is no terminal, such as the log of a cluster, a line now and then says how far the work is.
    Names of files are shown as they are: brackets in them have no meaning.
    """

    def __init__(self, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns: list[Any] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        self._progress = Progress(*columns, console=Console(stderr=True, markup=False))
        self._task: TaskID | None = None
        self._unit, self._first = unit, 0
        self._begun: float | None = None  # of `time.monotonic`, when `_first` steps were taken
        self._told = 0.0

    def show(self, description: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps are taken."""
        if not self._progress.console.is_terminal:
            return self._tell(description, done, total)
        if self._task is None:
            self._task = self._progress.add_task(description, total=total)
            self._progress.start()
        self._progress.update(self._task, description=visible(description), completed=done, total=total)

    def _tell(self, description: str, done: int, total: int) -> None:
        """A line about the progress, where the last one is long ago."""
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._told, self._first = now, now, done
        if now - self._told < SILENT_SECONDS or not self._first < done < total:
            return
        self._told = now
        left = timedelta(seconds=round((now - self._begun) / (done - self._first) * (total - done)))
        self.announce(f"{description}: {done} of {total} ({self._unit}), {left} left")

    def show_training(self, status: Status) -> None:
        """Show how far a training run is."""
        best = "" if status.best is None else f", best score {status.best:.3f}"
        self.show(f"loss {status.loss:.3f}{best}", status.step, status.steps)

    def announce(self, line: str) -> None:
        """Print a line on standard error, above the bar."""
        self._progress.console.print(visible(line), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._progress.stop()


def describe_prediction(written: Written) -> list[str]:
    """The files that were made of one input, what is expected of its objects, and whether it is an odd image."""
    name, files, expected = written.name, ", ".join(str(file) for file in written.files), written.expected
    found = [] if written.count is None else [f"{written.count} object(s)"]
    if expected is not None:
        found += [f"expected AP at IoU 0.5: {expected.ap:.2f} ({expected.ap_low:.2f} to {expected.ap_high:.2f})"]
        found += [f"true objects: {expected.objects_low:.0f} to {expected.objects_high:.0f}"]
    if written.dice:
        found += [f"expected Dice of the classes: {', '.join(map(str, written.dice))}"]
    lines = [f"{name}: {files}", *([f"{name}: {', '.join(found)}"] if found else [])]
    if written.unlike is not None and written.unlike.is_far:
        lines.append(f"{name}: unlike the training images ({written.unlike.reason}): expect worse")
    return lines


def print_scores(evaluation: Evaluation, title: str) -> None:
    """A table of scores with their 95 % intervals over images."""
    from rich.table import Table

    from contractile.metrics import METRICS

    table = Table("score", "", "value", "95 % interval", title=title, title_justify="left")
    for name, score in evaluation.summary.items():
        value = "undefined" if score.value is None else f"{score.value:.4f}"
        known = score.low is not None and score.high is not None
        interval = f"{score.low:.4f} to {score.high:.4f}" if known else score.reason or ""
        table.add_row(name, METRICS[name].title, value, interval)
    _print(table)


def print_comparison(comparison: Comparison) -> None:
    """A table of two predictions' scores and whether they differ."""
    from rich.table import Table

    def show(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    table = Table("score", "first", "second", "difference", "95 % interval", "p", "better")
    for name, one in comparison.differences.items():
        interval = "" if one.low is None else f"{show(one.low)} to {show(one.high)}"
        table.add_row(
            name,
            show(one.first),
            show(one.second),
            show(one.value),
            interval,
            show(one.p_value),
            one.better or one.reason or "",
        )
    _print(table)


def _print(table: Table) -> None:
    """Print a table; a terminal narrower than a table can be breaks its lines."""
    from rich.console import Console

    Console(width=max(NARROWEST, Console().width), markup=False).print(table)
