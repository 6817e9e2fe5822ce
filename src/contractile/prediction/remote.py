"""Blocks of an image that are predicted in other processes: these read the image and the model themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contractile.engine import EngineConfig
from contractile.images import Source
from contractile.model import load
from contractile.prediction.blocks import Segmented
from contractile.prediction.inputs import Reader
from contractile.prediction.predictor import Diameter, Predictor
from contractile.work import once, threads_of_a_block


@dataclass(frozen=True)
class ModelThere:
    """A model as other processes find it; `mark` changes with all on which its results depend."""

    file: Path
    mark: str
    engine: EngineConfig
    tile: int | None
    diameter: Diameter

    def load(self) -> Predictor:
        """The model, read once in each process, with so many threads as a block may use there."""
        return once(("model", self.mark, str(self.file)), self._load)

    def _load(self) -> Predictor:
        engine = self.engine.model_copy(update={"threads": threads_of_a_block()})
        return Predictor(load(self.file), engine=engine, tile=self.tile, diameter=self.diameter)


@dataclass(frozen=True)
class BlockThere:
    """`block(number)` predicts a block of the image `source` and leaves what is needed of it in `folder`.

    Grey values, and the size of objects where it is estimated, follow from the image alone, so every process finds the
    same. Raises what `Reader.read` gives as an error.
    """

    model: ModelThere
    source: Source
    folder: Path
    tta: bool
    with_maps: bool

    def __call__(self, number: int) -> None:
        once(("image", self.model.mark, str(self.folder)), self._open).predict(number)

    def _open(self) -> Segmented:
        predictor = self.model.load()
        image = Reader(predictor).read(self.source)
        if isinstance(image, Exception):
            raise image
        field = predictor.probabilities(image.sliceable, tta=self.tta)
        return Segmented(field, predictor.card, folder=self.folder, with_maps=self.with_maps, in_memory=0)
