"""Long jobs of the local page, one at a time, each in a process of its own that ends with the server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from contractile.errors import ContractileError, InUse
from contractile.images.gate import limits
from contractile.process import apart

State = Literal["running", "done", "failed", "stopped"]
COMMAND = (sys.executable, "-m", "contractile.viewer.job_process")
PATIENCE_S = 1.5  # seconds in which a process ends when it is asked to
LONGEST_LINE = 300  # characters that are shown
TELL_EACH_S = 0.25
KINDS = {"message": str, "error": str, "done": int, "total": int}  # of a line of progress


@dataclass(frozen=True)
class Job:
    """How far a job is. `message` is one line; `out` is the folder with what it writes."""

    id: int
    kind: Literal["export", "train"]
    state: State
    out: str
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Training:
    """What a run is trained on, and for how long. `labels` is a folder, in which labels are named like their image.

    `task` is that of the session, `axes` are the letters of the axes where they had to be given, and `classes` are
    classes by value, with the names that somebody gave them.
    """

    images: Sequence[Path]
    labels: Path
    out: Path
    minutes: float
    task: str
    axes: str | None = None
    classes: Sequence[tuple[int, str]] = ()


class Jobs:
    """The jobs of one session. `tell` gets the news of each, from a thread."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None], *, command: Sequence[str] = COMMAND) -> None:
        self._tell, self._command = tell, command
        self._lock = threading.Lock()
        self._jobs: list[Job] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def export(self, *, model: Path, images: Sequence[Path], total: int, out: Path, save: Sequence[str]) -> int:
        """Begin to predict the files of `total` images. The number of the job. Raises InUse while another one runs."""
        fields = {"model": str(model), "images": [str(one) for one in images], "total": total, "save": list(save)}
        return self._begin("export", out, fields)

    def train(self, training: Training, *, after: Callable[[], None] = lambda: None) -> int:
        """Begin to train a run. The number of the job; `after` is called when it ends. Raises InUse as `export`."""
        fields = {
            "images": [str(one) for one in training.images],
            "labels": str(training.labels),
            "minutes": training.minutes,
            "task": training.task,
            "axes": training.axes,
            "classes": list(training.classes),
        }
        return self._begin("train", training.out, fields, after)

    def list(self) -> list[dict[str, Any]]:
        """All jobs of this server, the first one first."""
        with self._lock:
            return [asdict(job) for job in self._jobs]

    def close(self) -> None:
        """End the job that runs."""
        with self._lock:
            process, thread = self._process, self._thread
            if process is not None:
                self._jobs[-1] = replace(self._jobs[-1], state="stopped")
        if process is not None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if thread is not None:
            thread.join(PATIENCE_S)

    def _begin(
        self,
        kind: Literal["export", "train"],
        out: Path,
        fields: Mapping[str, Any],
        after: Callable[[], None] = lambda: None,
    ) -> int:
        with self._lock:
            if self._process is not None:
                raise InUse(f"another job runs ({self._jobs[-1].kind})", "wait until it ends")
            job = Job(len(self._jobs) + 1, kind, "running", str(out))
            process = subprocess.Popen(  # Ctrl-C is for the server, which ends the job
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                **apart(),
            )
            self._jobs.append(job)
            self._process = process
        bounds = {"pixels": limits().pixels, "missing": limits().missing}
        line = json.dumps({"kind": kind, "out": str(out), "bounds": bounds, **fields})
        self._thread = threading.Thread(target=self._follow, args=(process, line, after), daemon=True)
        self._thread.start()
        self._tell(asdict(job))
        return job.id

    def _follow(self, process: subprocess.Popen[str], job: str, after: Callable[[], None]) -> None:
        """Hand over the job and pass on what the process says, until it ends."""
        assert process.stdin is not None
        assert process.stdout is not None
        started, told, last = time.monotonic(), 0.0, ""
        with suppress(OSError):  # it ended at once
            process.stdin.write(f"{job}\n")
            process.stdin.flush()
        for line in process.stdout:
            found = _parse(line)
            if not found:
                last = line.strip()[:LONGEST_LINE] or last
                continue
            last = found.pop("error", last)
            self._change(**found, seconds=round(time.monotonic() - started, 1))
            if time.monotonic() - told > TELL_EACH_S:
                told = time.monotonic()
                self._tell(self.list()[-1])
        self._end(process.wait(), last, time.monotonic() - started)
        for stream in (process.stdout, process.stdin):
            with suppress(OSError):
                stream.close()
        after()
        self._tell(self.list()[-1])

    def _end(self, status: int, last: str, seconds: float) -> None:
        """Note how a job ended; the next one may begin."""
        with self._lock:
            self._process, job = None, self._jobs[-1]
            if job.state == "running":
                failed = replace(job, state="failed", message=last or f"it ended with status {status}")
                job = failed if status else replace(job, state="done")
            self._jobs[-1] = replace(job, seconds=round(seconds, 1))

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._jobs[-1] = replace(self._jobs[-1], **changes)


def _parse(line: str) -> dict[str, Any]:
    """The fields of a line of progress that we know; empty for other lines."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found[name] for name, kind in KINDS.items() if isinstance(found.get(name), kind)}


def check_choice(what: str, value: Sequence[str], known: Sequence[str]) -> None:
    """Raise ContractileError unless the words are among those that are known, and there is one."""
    wrong = [word for word in value if word not in known]
    if wrong or not value:
        problem = f"{what} must be among {', '.join(known)}, got {', '.join(map(repr, wrong)) or 'nothing'}"
        raise ContractileError(problem, f"write {known[0]}")
