"""A Dask array in, a Dask array out: probabilities that are computed when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import Mosaic, widened
from contractile.intensity import Intensity
from contractile.model import Model
from contractile.prediction.field import Floats, NetworkField
from contractile.work import once, threads_of_a_block

if TYPE_CHECKING:
    from contractile.prediction.predictor import Predictor

_one_at_a_time = threading.Lock()  # a network uses all cores that its process may use


def lazily(predictor: Predictor, image: Any, intensity: Intensity, *, mark: str) -> Any:
    """Probabilities (K, *S) of a Dask array (C, *S) as a Dask array, one chunk for each block of its mosaic.

    Each block reads its own pixels and the margin around them. `mark` changes with the model and its engine. Workers
    of a cluster place the network themselves, once each.
    """
    import dask.array as da
    from dask import delayed
    from dask.base import tokenize

    mosaic = Mosaic.of(image.shape[1:])
    network, placed = predictor.card.network, predictor.placed
    assert placed is not None
    chosen = {"backend": placed.backend, "precision": placed.precision}
    engine = predictor.engine.model_copy(update=chosen)
    there = delayed(_There(predictor.model, engine, predictor.tile, mark), pure=True)
    reach = max(network.margin)
    blocks = np.empty((1, *mosaic.counts), object)
    for number, region in enumerate(mosaic.regions()):
        around = widened(region, reach, mosaic.shape)
        part = image[(slice(None), *around)]
        name = f"network-{number}-{tokenize(mark, image.name, number)}"
        value = delayed(_predict, pure=True)(
            there, part, [one.start for one in around], tuple(image.shape), intensity, region, dask_key_name=name
        )
        shape = (max(2, network.classes), *(one.stop - one.start for one in region))
        place: tuple[Any, ...] = (0, *np.unravel_index(number, mosaic.counts))
        blocks[place] = da.from_delayed(value, shape, np.float32)
    return da.block(blocks.tolist())


@dataclass(frozen=True)
class _There:
    """A model that is sent to other processes, and placed once in each."""

    model: Model
    engine: Any
    tile: int | None
    mark: str

    def predictor(self) -> Predictor:
        return once(("lazy", self.mark), self._make)

    def _make(self) -> Predictor:
        from contractile.prediction.predictor import Predictor

        engine = self.engine.model_copy(update={"threads": threads_of_a_block()})
        return Predictor(self.model, engine=engine, tile=self.tile)


class _Part:
    """An image (C, *S) of which only a part is known; the rest, which no result depends on, is 0."""

    def __init__(self, pixels: NDArray[Any], origin: Sequence[int], shape: tuple[int, ...]) -> None:
        self._pixels, self._origin, self.shape, self.dtype = pixels, origin, shape, pixels.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        out = np.zeros([len(range(*one.indices(n))) for one, n in zip(key, self.shape, strict=True)], self.dtype)
        here, there = [slice(None)], [slice(None)]
        for one, start, n in zip(key[1:], self._origin, self._pixels.shape[1:], strict=True):
            low, high = max(one.start, start), min(one.stop, start + n)
            here.append(slice(low - one.start, max(low, high) - one.start))
            there.append(slice(low - start, max(low, high) - start))
        out[tuple(here)] = self._pixels[tuple(there)]
        return out


def _predict(
    there: _There,
    part: NDArray[Any],
    origin: Sequence[int],
    shape: tuple[int, ...],
    intensity: Intensity,
    region: tuple[slice, ...],
) -> Floats:
    """The probabilities of one block from the part of the image around it."""
    predictor = there.predictor()
    image = _Part(np.asarray(part), origin, shape)
    with _one_at_a_time:
        placed = predictor.placed = predictor.placed or predictor.place(image, intensity)
        return NetworkField(image, placed, intensity, tile=predictor.tile)[(slice(None), *region)]


def refuse(scale: float, tta: bool) -> None:
    """Raise ContractileError for what needs more of the image than a block and its margin."""
    if tta:
        raise ContractileError("tta must be False for a Dask array, got True", "give an array or a file")
    if scale != 1:
        problem = f"a Dask array is taken as it is, but this model must see this one resampled by {scale:.3g}"
        raise ContractileError(problem, "resample it first, or give an array or a file")
