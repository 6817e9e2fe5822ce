"""Pairs on disk -> an endless, seeded stream of training samples.

pair_up -> Pair -> load_examples -> Example -> split -> Samples -> Batch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from contractile.dataset.apart import check_places as check_places
from contractile.dataset.examples import Example as Example
from contractile.dataset.examples import check_values as check_values
from contractile.dataset.examples import count_images as count_images
from contractile.dataset.examples import find_annotated as find_annotated
from contractile.dataset.examples import load_examples as load_examples
from contractile.dataset.examples import split as split
from contractile.dataset.pairing import Pair as Pair
from contractile.dataset.pairing import pair_up as pair_up
from contractile.dataset.pairing import settle_pairs as settle_pairs

if TYPE_CHECKING:
    from contractile.dataset.samples import Batch as Batch
    from contractile.dataset.samples import SampleConfig as SampleConfig
    from contractile.dataset.samples import Samples as Samples
    from contractile.dataset.samples import pasted_copies as pasted_copies

_LATER = ("Batch", "SampleConfig", "Samples", "pasted_copies")  # of `samples`, which loads PyTorch: pairs need none


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'contractile.dataset' has no attribute {name!r}")
    value = getattr(importlib.import_module("contractile.dataset.samples"), name)
    globals()[name] = value
    return value
