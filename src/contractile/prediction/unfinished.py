"""The folder of a prediction that is not finished: what belongs to it, so that nothing else is taken up again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from contractile.errors import ContractileError, NotWritten
from contractile.images import Source
from contractile.images.series import Series
from contractile.memory import used_memory
from contractile.model import save
from contractile.prediction.blocks import IN_MEMORY, Segmented
from contractile.prediction.field import Field
from contractile.prediction.outputs import Written
from contractile.prediction.predictor import Predictor
from contractile.prediction.progress import Ticker
from contractile.prediction.remote import BlockThere, ModelThere
from contractile.storage import telling
from contractile.work import Work

logger = logging.getLogger(__name__)

FEW = 3  # blocks of an image, from which on it is said what the rest will take
BYTES = 4  # of a pixel in the largest array that is kept of an image for each channel

PLAN = "plan.json"
FINISHED = ".contractile.predicted.jsonl"  # a line for each file whose results are complete


class Course:
    """A call of `predict_files`: what its results depend on, what is finished, where the rest lies meanwhile."""

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        *,
        tta: bool,
        products: Sequence[str],
        form: str = "tiff",
        resume: bool = False,
        work: Work | None = None,
    ) -> None:
        """`form` is that of the products; `work` is another place than this process where blocks are predicted."""
        self.tta, self.work, self._out, self._resume = tta, work, out, resume
        self._predictor, self._with_maps = predictor, "probabilities" in products
        self._products = f"{', '.join(sorted(products))} as {form}"
        self._call = uuid.uuid4().hex  # tells workers that outlive this call what belongs to it
        self._opened: set[str] = set()  # names of the files whose blocks are those of this call
        self._finished: dict[str, _Finished] = _read_finished(out / FINISHED) if resume else {}

    def plan(self, series: Series) -> dict[str, str]:
        """The things on which the results of a file depend, in words."""
        predictor, first = self._predictor, series.pages[0]
        return {
            "model": predictor.fingerprint,
            "image": trace(first.files),
            "choice of axes": f"{first.axes}",
            "engine": f"{predictor.engine.model_dump_json()}",
            "diameter": f"{predictor.diameter}",
            "tta": f"{self.tta}",
            "choice of probabilities": f"{self._with_maps}",
            "version": version("contractile"),
        }

    def find_finished(self, series: Series, files: Sequence[Path]) -> Written | None:
        """The results of a file where they are there already and `resume` was asked for."""
        found = self._finished.get(series.name)
        if found is None or not all(file.exists() for file in files) or found.mark != self._mark(series):
            return None
        logger.info("%s is finished", series)
        drop_work(self._folder(series))
        return found.written

    def begin(self, series: Series, page: int, field: Field) -> Segmented:
        """The blocks of one page, in memory where it is small; what a killed prediction left is taken up again."""
        shape, share = field.shape[1:], IN_MEMORY // len(series.pages) if self.work is None else 0
        folder = None
        if math.prod(shape) * BYTES > share:
            folder = self._folder(series)
            if page == 0:
                open_work(folder, {**self.plan(series), "shape": f"{tuple(shape)}"}, resume=self._resume)
                self._opened.add(series.name)
            folder = (folder if self.work is None else folder.absolute()) / f"{page:04d}"  # workers are elsewhere
        card = self._predictor.card
        return Segmented(field, card, folder=folder, with_maps=self._with_maps, in_memory=share)

    def carry_out(self, found: Segmented, source: Source, ticker: Ticker) -> None:
        """Predict all blocks that are not there yet, and find the objects."""
        todo = found.todo()
        ticker.begin(len(found.mosaic) - len(todo), len(found.mosaic))
        if self.work is None:
            if len(todo) == 1:
                found.predict(todo[0])
                ticker.block()
            else:
                self._predict(found, todo, ticker)
            return found.sew()
        parts = tuple(part.absolute() for part in source.parts)
        absolute = replace(source, path=source.path.absolute(), parts=parts)
        there = BlockThere(self._model_there(), absolute, found.place, self.tta, self._with_maps, self._call)
        for _ in self.work.each(there, todo, name="network"):
            ticker.block()
            ticker.tile(0, 1)
        return found.sew(partial(self.work.each, name="objects"))

    def _predict(self, found: Segmented, todo: Sequence[int], ticker: Ticker) -> None:
        """Predict blocks; while the network computes one, a thread stores what is needed of the one before."""
        begun, storing = time.monotonic(), Future[None]()
        storing.set_result(None)
        with ThreadPoolExecutor(max_workers=1) as pool:
            for number in todo:
                probabilities = found.compute(number)
                storing.result()
                storing = pool.submit(found.store, number, probabilities)
                ticker.block()
                if number == todo[0] and len(todo) > FEW:
                    storing.result()
                    self._estimate(found, len(todo) - 1, time.monotonic() - begun)
            storing.result()

    def _estimate(self, found: Segmented, blocks: int, seconds: float) -> None:
        """Say what the other blocks take, when one took so many seconds. Raises NotWritten for a disk too small."""
        needed = found.size_on_disk() * blocks
        free = shutil.disk_usage(self._out).free
        if needed > free:
            problem = f"takes about {needed / 1e9:.1f} GB of disk in the meantime, and {free / 1e9:.1f} GB are free"
            raise NotWritten(problem, "choose a folder on another disk", where=self._out)
        minutes = max(1, round(seconds * blocks / 60))
        told = "%d more blocks take about %d minute(s), %.1f GB of memory, and %.1f GB of disk in the meantime"
        logger.warning(told, blocks, minutes, used_memory() / 1e9, needed / 1e9)

    def _model_there(self) -> ModelThere:
        """The model in a file that other processes read, with the engine that was chosen here."""
        predictor = self._predictor
        file = self._of_workers().absolute() / "model.safetensors"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            save(predictor.model, file)
        return ModelThere.of(predictor, file)

    def end(self) -> None:
        """Forget the model that other processes read."""
        drop_work(self._of_workers())

    def _of_workers(self) -> Path:
        """The folder of the model; each call has its own, since another may end while this one goes on."""
        return self._out / f".{self._predictor.fingerprint[:16]}-{self._call[:8]}.contractile-work"

    def forget(self, series: Series) -> None:
        """Remove the blocks of a file that cannot be predicted; not those of another prediction that was refused."""
        if series.name in self._opened:
            drop_work(self._folder(series))

    def finish(self, series: Series, written: Written) -> None:
        """Note that the results of a file are written, and forget its blocks."""
        drop_work(self._folder(series))
        told = {"name": series.name, "plan": self._mark(series), "written": written.as_json()}
        line = json.dumps(told) + "\n"
        with telling(self._out), (self._out / FINISHED).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _folder(self, series: Series) -> Path:
        return work_folder(self._out, series)

    def _mark(self, series: Series) -> str:
        told = json.dumps({**self.plan(series), "products": self._products}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def work_folder(out: Path, series: Series) -> Path:
    """Where the blocks of a large image lie until its results are written."""
    return out / f".{series.name}.contractile-work"


class _Finished(NamedTuple):
    """A file that is finished: what its results depend on, and what was written."""

    mark: str
    written: Written


def _read_finished(file: Path) -> dict[str, _Finished]:
    """The files that are finished, by name; lines that were cut off are left out."""
    finished = {}
    with suppress(FileNotFoundError, UnicodeDecodeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                known = json.loads(line)
                finished[str(known["name"])] = _Finished(str(known["plan"]), Written.from_json(known["written"]))
    return finished


def trace(files: Iterable[Path]) -> str:
    """A hash of files and of all files in folders: their names, sizes and times of change.

    Labels inside of an OME-Zarr do not count, nor do our own notes: a prediction may write both there.
    """
    found = hashlib.sha256()
    for path in files:
        inside = sorted(_pixels_of(path)) if path.is_dir() else [path]
        for one in inside:
            known = one.stat()
            place = one.relative_to(path.parent).as_posix()
            found.update(f"{place}\0{known.st_size}\0{known.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _pixels_of(folder: Path) -> Iterator[Path]:
    for folders, names, files in os.walk(folder):
        names[:] = [name for name in names if name != "labels"]
        yield from (Path(folders, file) for file in files if not file.startswith(".contractile"))


def open_work(folder: Path, plan: Mapping[str, str], *, resume: bool) -> None:
    """Make the folder of a prediction, or take up again the one that is there, whose result would be the same.

    `plan` are the things on which the result depends, in words. With `resume` a folder with another plan is not thrown
    away: raises ContractileError. Raises NotWritten.
    """
    if (folder / PLAN).is_file():
        try:
            _check_same(folder, plan)
        except ContractileError:
            if resume:
                raise
        else:
            logger.info("%s: the blocks that an unfinished prediction left are taken up again", folder.parent)
            return
    drop_work(folder)
    with telling(folder):
        folder.mkdir(parents=True)
        partial = folder / f"{PLAN}.{os.getpid()}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(dict(plan), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / PLAN)


def drop_work(folder: Path) -> None:
    """Remove the folder of a prediction, if it is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _check_same(folder: Path, plan: Mapping[str, str]) -> None:
    cure = "give what it began with, or leave out --resume to begin again"
    try:
        began = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        differing = [name for name in plan if began[name] != plan[name]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ContractileError("the unfinished prediction cannot be read", cure, where=folder) from error
    if differing:
        problem = f"the unfinished prediction began with another {', another '.join(differing)}"
        raise ContractileError(problem, cure, where=folder)
