"""A Dask array in, a Dask array out: probabilities that are computed when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine import place
from contractile.errors import ContractileError
from contractile.grid import Mosaic, widened
from contractile.intensity import Intensity
from contractile.prediction.field import Floats, TileLimit
from contractile.prediction.predictor import Predictor
from contractile.prediction.remote import ModelThere
from contractile.work import once

_one_at_a_time = threading.Lock()  # a network uses all cores that its process may use


def lazily(predictor: Predictor, image: Any, intensity: Intensity) -> Any:
    """Probabilities (K, *S) of a Dask array (C, *S) as a Dask array, one chunk for each block of its mosaic.

    Each block reads its own pixels and the margin around them, the largest one of all networks. The names of tasks
    change with all on which the result depends: the mark of the predictor, the image, and its curve. Workers of a
    cluster place the networks themselves, once each.
    """
    import dask.array as da
    from dask import delayed
    from dask.base import tokenize

    mosaic, card = Mosaic.of(image.shape[1:]), predictor.card
    there = delayed(ModelThere.of(predictor, predictor.model), name=f"model-{tokenize(predictor.mark)}")
    whole = _Whole(tokenize(predictor.mark, image.name, intensity), tuple(image.shape), intensity)
    reach = max(side for config in (card.network, *card.others) for side in config.margin)
    blocks = np.empty((1, *mosaic.counts), object)
    for number, region in enumerate(mosaic.regions()):
        around = widened(region, reach, mosaic.shape)
        part = image[(slice(None), *around)]
        name = f"network-{number}-{whole.name}"
        origin = [one.start for one in around]
        value = delayed(_predict, pure=True)(there, whole, part, origin, region, dask_key_name=name)
        shape = (card.network.maps, *(one.stop - one.start for one in region))
        where: tuple[Any, ...] = (0, *np.unravel_index(number, mosaic.counts))
        blocks[where] = da.from_delayed(value, shape, np.float32)
    return da.block(blocks.tolist())


@dataclass(frozen=True, eq=False)
class _Whole:
    """An image (C, *S) of which processes see parts: a name that only this prediction of it has, shape and curve."""

    name: str
    shape: tuple[int, ...]
    intensity: Intensity


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
    there: ModelThere, whole: _Whole, part: NDArray[Any], origin: Sequence[int], region: tuple[slice, ...]
) -> Floats:
    """The probabilities of one block from the part of the image around it."""
    predictor = there.load()
    limit = once(("tiles", whole.name), lambda: TileLimit(there.tile))
    image = _Part(np.asarray(part), origin, whole.shape)
    with _one_at_a_time:
        # The engine was chosen on the image; its middle, which would be the example, may not be in this part.
        predictor.placed = predictor.placed or place(predictor.model.stored, predictor.engine)
        return predictor.look(image, whole.intensity, limit=limit)[(slice(None), *region)]


def refuse(scale: float, tta: bool) -> None:
    """Raise ContractileError for what needs more of the image than a block and its margin."""
    if tta:
        raise ContractileError("tta must be False for a Dask array, got True", "give an array or a file")
    if scale != 1:
        problem = f"a Dask array is taken as it is, but this model must see this one resampled by {scale:.3g}"
        raise ContractileError(problem, "resample it first, or give an array or a file")
