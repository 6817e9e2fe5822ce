"""A process that does one long job for the local page: predict files, or train properly.

It reads the job as one line of JSON and prints its progress as such lines. It ends with whoever started it, also where
that one is killed: the standard input ends then.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contractile.errors import ContractileError
from contractile.viewer.session_file import plain_name

if TYPE_CHECKING:
    from contractile.training import Run, Status

Classes = Sequence[tuple[int, str]]  # values and names
DONE, REFUSED, FAULT = 0, 2, 70
NICER = 5  # the page and what it learns go first


def main() -> int:
    """Do the job that the standard input names; the status that the process ends with."""
    from contractile.process import end_with_parent, prepare_process

    job = json.loads(sys.stdin.readline())
    end_with_parent(REFUSED)
    if hasattr(os, "nice"):
        os.nice(NICER)
    prepare_process()
    from contractile.images import limited

    try:
        with limited(**job.pop("bounds", {})):  # what the page's own process reads at most
            DOING[job.pop("kind")](**job)
    except ContractileError as error:
        say(error=str(error))
        return REFUSED
    except Exception as error:
        traceback.print_exc()
        say(error=f"this is a fault in contractile, please report it: {type(error).__name__}: {error}")
        return FAULT
    return DONE


def export(model: str, images: list[str], total: int, out: str, save: list[str]) -> None:
    """Predict the files of `total` images into the folder `out`; results of an earlier export are replaced."""
    from contractile.model import load
    from contractile.prediction import Predictor, predict_files

    def tell(name: str, done: int, parts: int) -> None:
        say(message=name, done=finished * parts + done, total=total * parts)

    finished = 0
    predicted = predict_files(Predictor(load(model)), images, out=out, products=save, progress=tell)
    for finished, written in enumerate(predicted, start=1):
        say(message=written.name, done=finished, total=total)


def train(
    images: Any, labels: str, out: str, minutes: float, task: str, *, axes: str | None = None, classes: Classes = ()
) -> None:
    """Train a run into the folder `out`, with its report, as `contractile train` does; `classes` are named in its card.

    The labels hold no names. The card gets them when the run has ended: a run that is resumed later keeps them.
    """
    from contractile.report import write_report
    from contractile.training import train as train_run

    def tell(status: Status) -> None:
        say(message=f"loss {status.loss:.3f}", done=status.step, total=status.steps)

    recipe = {"minutes": minutes, "targets": {"task": task}, **({} if axes is None else {"axes": axes})}
    run = train_run(images, labels, out=out, recipe=recipe, progress=tell)
    if classes:
        run = _name_classes(run, dict(classes))
    report = write_report(run, data=(str(Path(images[0]).parent), labels))
    say(message=f"report: {report}")


def _name_classes(run: Run, names: Mapping[int, str]) -> Run:
    """The same run, whose model has names for its classes, in its file too."""
    from contractile.training.folder import RunFolder

    values = run.model.card.class_values
    named = run.model.with_card(class_names=tuple(names.get(value, plain_name(value)) for value in values))
    folder = RunFolder(run.folder, resume=True)
    with folder.held():
        folder.write_model(named)
    return replace(run, model=named)


DOING: dict[str, Callable[..., None]] = {"export": export, "train": train}


def say(**fields: Any) -> None:
    """One line of JSON for whoever started the process."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main())
