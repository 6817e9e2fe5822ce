"""Sinks take results region by region, in any order, and become a file when they are closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contractile.images.image import Region
from contractile.images.writing import label_axes, probability_axes, write_labels, write_probabilities


class TiffSink:
    """A TIFF of labels (*S) or (P, *S), or of probabilities (K, *S) or (P, K, *S), P the number of pages.

    `sink[region] = values` in any order; what is never written stays 0. `close` writes the file; so does the end of
    a `with` block, unless an exception leaves it: then nothing is written. All values are in memory until then.
    Raises ContractileError at once where no such file has this shape, and on closing what `write_labels` raises.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, ...],
        *,
        kind: Literal["labels", "probabilities"] = "labels",
        dims: int = 2,
        pixel_size_um: tuple[float, ...] | None = None,
    ) -> None:
        label_axes(shape) if kind == "labels" else probability_axes(shape, dims)
        self.path, self.shape, self.kind = Path(path), shape, kind
        self._dims, self._pixel_size_um = dims, pixel_size_um
        self._values: NDArray[Any] = np.zeros(shape, np.int32 if kind == "labels" else np.float32)

    def __setitem__(self, region: Region, values: ArrayLike) -> None:
        self._values[region] = values

    def finished(self, block: object) -> None:
        """Mark a block as done. Nothing has to be kept for it here: no part of the file exists before `close`."""

    def close(self) -> None:
        if self.kind == "labels":
            write_labels(self.path, self._values, pixel_size_um=self._pixel_size_um)
        else:
            write_probabilities(self.path, self._values, dims=self._dims, pixel_size_um=self._pixel_size_um)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
