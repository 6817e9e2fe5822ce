"""A process that does one long job for the local page: predict files, or train properly.

It reads the job as one line of JSON and prints its progress as such lines. It ends with whoever started it, also where
that one is killed: the standard input ends then.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contractile.errors import ContractileError

if TYPE_CHECKING:
    from contractile.training import Status

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


def export(model: str, images: list[str], out: str, save: list[str]) -> None:
    """Predict files into the folder `out`; results of an earlier export are replaced."""
    from contractile.model import load
    from contractile.prediction import Predictor, predict_files

    def tell(name: str, done: int, total: int) -> None:
        say(message=name, done=finished * total + done, total=len(images) * total)

    finished = 0
    predicted = predict_files(Predictor(load(model)), images, out=out, products=save, progress=tell)
    for finished, written in enumerate(predicted, start=1):
        say(message=written.source.name, done=finished, total=len(images))


def train(images: Any, labels: str, out: str, minutes: float, axes: str | None = None) -> None:
    """Train a run into the folder `out`, with its report, as `contractile train` does."""
    from contractile.report import write_report
    from contractile.training import train as train_run

    def tell(status: Status) -> None:
        say(message=f"loss {status.loss:.3f}", done=status.step, total=status.steps)

    recipe = {"minutes": minutes, **({} if axes is None else {"axes": axes})}
    run = train_run(images, labels, out=out, recipe=recipe, progress=tell)
    report = write_report(run, data=(str(Path(images[0]).parent), labels))
    say(message=f"report: {report}")


DOING: dict[str, Callable[..., None]] = {"export": export, "train": train}


def say(**fields: Any) -> None:
    """One line of JSON for whoever started the process."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main())
