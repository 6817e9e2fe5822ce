"""Whether a fast back end says what float32 PyTorch says, on the middle of a batch that it has answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contractile.unet import UNetConfig

# Pixels along one side of the output that are compared, where the batch has more.
COMPARED_SIDE = {2: 128, 3: 32}


@dataclass(frozen=True)
class Agreement:
    """The share of pixels whose label differs, and the largest difference of a probability."""

    changed_labels: float
    largest_difference: float


@dataclass(frozen=True)
class _Span:
    """Along one axis: what of the batch is computed again, and where that lies in its answer and in the batch's."""

    read: slice
    again: slice
    answered: slice


def measure_agreement(
    answer: NDArray[np.float32],
    batch: NDArray[np.float32],
    exact: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    config: UNetConfig,
) -> Agreement:
    """Compare `answer` (B, K, *S') to `batch` (B, C, *S) with what `exact` answers to the middle of its first image.

    The middle begins on the pooling grid and is compared where neither is touched by the zeros of padding, so that
    exact arithmetic would give the same.
    """
    spans = [_middle(size, config) for size in batch.shape[2:]]
    again = exact(batch[(slice(0, 1), slice(None), *(span.read for span in spans))])
    again = again[(slice(None), slice(None), *(span.again for span in spans))]
    same = answer[(slice(0, 1), slice(None), *(span.answered for span in spans))]
    changed = float((same.argmax(axis=1) != again.argmax(axis=1)).mean())
    return Agreement(changed, float(np.abs(same - again).max()))


def _middle(size: int, config: UNetConfig) -> _Span:
    padded = config.padding == "same"
    rim = config.margin if padded else 0
    wanted = config.input_size(COMPARED_SIDE[config.dims] + 2 * rim)
    if size <= wanted:
        return _Span(slice(None), slice(None), slice(None))
    start = (size - wanted) // 2 // config.stride * config.stride
    end = wanted if padded else config.output_size(wanted)
    return _Span(slice(start, start + wanted), slice(rim, end - rim), slice(start + rim, start + end - rim))
