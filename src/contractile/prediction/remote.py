"""Blocks of an image that are predicted in other processes: these read the image and the model themselves."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contractile.engine import EngineConfig
from contractile.images import Source
from contractile.model import Model, load
from contractile.prediction.blocks import Segmented
from contractile.prediction.inputs import Reader
from contractile.prediction.predictor import Predictor
from contractile.prediction.scaling import Diameter
from contractile.work import once, threads_of_a_block


@dataclass(frozen=True)
class ModelThere:
    """A model as other processes find it: itself, or the file that holds it, with the engine that was chosen here.

    `mark` changes with all on which its results depend.
    """

    model: Model | Path
    mark: str
    engine: EngineConfig
    tile: int | None
    diameter: Diameter

    @classmethod
    def of(cls, predictor: Predictor, model: Model | Path) -> ModelThere:
        """The model of a predictor, which is `model` or lies in this file."""
        return cls(model, predictor.mark, predictor.chosen, predictor.tile, predictor.diameter)

    def load(self) -> Predictor:
        """The model, made once in each process, with so many threads as a block may use there."""
        return once(("model", self.mark), self._load)

    def _load(self) -> Predictor:
        model = self.model if isinstance(self.model, Model) else load(self.model)
        engine = self.engine.model_copy(update={"threads": threads_of_a_block()})
        return Predictor(model, engine=engine, tile=self.tile, diameter=self.diameter)


@dataclass(frozen=True)
class BlockThere:
    """`block(number)` predicts a block of the image `source` and leaves what is needed of it in `folder`.

    Grey values, and the size of objects where it is estimated, follow from the image alone, so every process finds the
    same. Workers live longer than a call, and files change: `call` is another one for each call, and a process holds
    one image of a call at a time. Raises what `Reader.read` gives as an error.
    """

    model: ModelThere
    source: Source
    folder: Path
    tta: bool
    with_maps: bool
    call: str

    def __call__(self, number: int) -> None:
        once(self, self._open, place=("image", self.call)).predict(number)

    def _open(self) -> Segmented:
        predictor = self.model.load()
        image = Reader(predictor).read(self.source)
        if isinstance(image, Exception):
            raise image
        with ExitStack() as opened:
            opened.enter_context(image)
            field = predictor.probabilities(image.sliceable, tta=self.tta)
            found = Segmented(field, predictor.card, folder=self.folder, with_maps=self.with_maps, in_memory=0)
            weakref.finalize(found, opened.pop_all().close)  # when no thread predicts a block of it any more
            return found
