"""Which datasets of HDF5 are read: with numbers in the file itself, in pieces of fitting size, packed as h5py knows."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images.gate import check_chunks, check_piece


def check_dataset(dataset: Any, path: Path) -> None:
    """Raise ContractileError for a dataset that is not read. A file of a stranger could name any other file."""
    name = f"its dataset {dataset.name:.80}"
    if dataset.external or dataset.is_virtual or not path.samefile(dataset.file.filename):
        problem = f"{name} takes its numbers from other files, which are not opened"
        raise ContractileError(problem, "copy the numbers into one file", where=path)
    filters = importlib.import_module("h5py.h5z")
    settings = dataset.id.get_create_plist()
    for number in range(settings.get_nfilters()):
        code = settings.get_filter(number)[0]
        if not filters.filter_avail(code):
            problem = f"{name} is compressed by a filter that h5py lacks (number {code})"
            raise ContractileError(problem, "save it again with gzip", where=path)
    if dataset.chunks is not None:
        check_piece("a chunk", dataset.chunks, path, pixel_bytes=dataset.dtype.itemsize)
        sides = zip(dataset.shape, dataset.chunks, strict=True)
        check_chunks("chunks", math.prod(math.ceil(side / chunk) for side, chunk in sides), path)
