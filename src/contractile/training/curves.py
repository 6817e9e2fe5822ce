"""The history of a run as TensorBoard events: a copy for looking at, which nothing depends on."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

EVENTS_FOLDER = "tensorboard"


class Curves:
    """A file of events in `folder`, made with the first values; without a folder none.

    Where it cannot be written, this is said once, and the run goes on: TensorBoard's own writer, a thread, would print
    a traceback.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._writer: RecordWriter | None = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        if self._folder is None:
            return
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        try:
            if self._writer is None:
                self._writer = self._open(self._folder / EVENTS_FOLDER)
            self._write(Event(wall_time=time.time(), step=step, summary=summary))
        except OSError as error:
            logger.warning("%s: TensorBoard shows no more of this run (%s)", self._folder / EVENTS_FOLDER, error)
            self._folder = None

    def _open(self, folder: Path) -> RecordWriter:
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((folder / name).open("ab", buffering=0))  # a full disk is noticed at once
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        return self._writer

    def _write(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.write(event.SerializeToString())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
