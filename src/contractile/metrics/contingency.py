"""The sparse table of overlaps that most scores are made of.

Its memory grows with the number of pairs that overlap, not with the square of the number of objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.errors import ContractileError
from contractile.metrics.metric import Floats, Ints

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Contingency:
    """Pixels shared by each of the P pairs of a true and a predicted value that share any.

    `true_values` (T,) and `pred_values` (Q,) are the values that occur, ascending, with 0 for background. Pair p is
    `true_values[rows[p]]` and `pred_values[cols[p]]`, which share `counts[p]` pixels. Ignored pixels (negative truth)
    are not counted.
    """

    true_values: Ints
    pred_values: Ints
    rows: Ints
    cols: Ints
    counts: Ints

    @property
    def true_sizes(self) -> Ints:
        """(T,) pixels of each true value."""
        return np.bincount(self.rows, self.counts, self.true_values.size).astype(np.int64)

    @property
    def pred_sizes(self) -> Ints:
        """(Q,) pixels of each predicted value (outside ignored pixels)."""
        return np.bincount(self.cols, self.counts, self.pred_values.size).astype(np.int64)

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Objects:
    """The same table without the background; sizes are those of whole objects.

    `true_ids` (T,) and `pred_ids` (Q,) are ascending and above 0, with sizes in pixels. `rows` and `cols` (P,) are
    indices into them, one pair of overlapping objects each, with `shared` pixels.
    """

    true_ids: Ints
    pred_ids: Ints
    true_sizes: Ints
    pred_sizes: Ints
    rows: Ints
    cols: Ints
    shared: Ints

    @property
    def iou(self) -> Floats:
        """(P,) intersection over union of each overlapping pair."""
        union = self.true_sizes[self.rows] + self.pred_sizes[self.cols] - self.shared
        result: Floats = self.shared / union
        return result


def tabulate(predicted: NDArray[Any], truth: NDArray[Any]) -> Contingency:
    """Count the pixels of every pair (true value, predicted value) in one pass over two label arrays.

    Both are (*S) of integers or booleans. Raises ContractileError for different shapes, values that are not integers
    or need more than 32 bits, and negative predicted labels on pixels that are counted.
    """
    pred, true = _as_labels(predicted, "predicted"), _as_labels(truth, "truth")
    if predicted.shape != truth.shape:
        raise ContractileError(
            f"predicted and truth must have the same shape, got {predicted.shape} and {truth.shape}",
            "score the image that the truth was drawn on, at its size",
        )
    keys, counts, lowest = _count_pairs(pred, true)
    if lowest < 0:
        raise ContractileError(
            f"predicted labels must be 0 (background) or above, got {lowest}",
            "only the truth may mark pixels to ignore with negative labels",
        )
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]
    true_values, rows = np.unique(keys >> 32, return_inverse=True)
    pred_values, cols = np.unique(keys & 0xFFFFFFFF, return_inverse=True)
    return Contingency(true_values, pred_values, rows.astype(np.int64), cols.astype(np.int64), counts)


def select_objects(table: Contingency) -> Objects:
    """The table without the background (0); each object keeps its whole area."""
    true_kept, pred_kept = table.true_values > 0, table.pred_values > 0
    pairs = true_kept[table.rows] & pred_kept[table.cols]
    return Objects(
        true_ids=table.true_values[true_kept],
        pred_ids=table.pred_values[pred_kept],
        true_sizes=table.true_sizes[true_kept],
        pred_sizes=table.pred_sizes[pred_kept],
        rows=(np.cumsum(true_kept) - 1)[table.rows[pairs]],
        cols=(np.cumsum(pred_kept) - 1)[table.cols[pairs]],
        shared=table.counts[pairs],
    )


def _as_labels(labels: NDArray[Any], argument: str) -> NDArray[np.int32]:
    """Labels (*S) as int32, flat in C order."""
    if labels.dtype.kind not in "iub":
        raise ContractileError(
            f"{argument} must hold integer labels, got {labels.dtype}",
            "turn probabilities into labels first (threshold, or argmax over classes)",
        )
    if labels.dtype.itemsize >= 4 and labels.dtype != np.int32 and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < _INT32.min or high > _INT32.max:
            raise ContractileError(
                f"{argument} must hold labels of at most 32 bits (signed), got {low} ... {high}",
                "renumber the objects from 1",
            )
    return np.ascontiguousarray(labels, dtype=np.int32).reshape(-1)


@compiled
def _count_pairs(pred: NDArray[np.int32], true: NDArray[np.int32]) -> tuple[Ints, Ints, int]:
    """Keys (true << 32 | pred), pixels of each key, and the lowest predicted label (0 if none is negative).

    Each run of equal pixels is looked up only once in the hash table (open addressing, at most half full), so that the
    cost grows with the outlines of the objects and not with their areas.
    """
    size = 1024
    keys = np.full(size, -1, np.int64)
    counts = np.zeros(size, np.int64)
    used, lowest = 0, 0
    i = 0
    while i < true.size:
        t, p, start = true[i], pred[i], i
        while i < true.size and true[i] == t and pred[i] == p:
            i += 1
        if t < 0:
            continue
        if p < 0:
            lowest = min(lowest, p)
            continue
        key = (np.int64(t) << 32) | np.int64(p)  # t, p >= 0: the key is at least 0
        slot = _find_slot(keys, key)
        if keys[slot] == -1:
            keys[slot] = key
            used += 1
        counts[slot] += i - start
        if 2 * used > size:
            size *= 4
            keys, counts = _rehash(keys, counts, size)
    kept = keys >= 0
    return keys[kept], counts[kept], lowest


@compiled
def _find_slot(keys: Ints, key: np.int64) -> np.int64:
    """The slot that holds `key`, or the free slot where it belongs. `keys.size` is a power of two."""
    mask = keys.size - 1
    mixed = key * np.int64(-7046029254386353131)  # Fibonacci hashing: 2**64 / golden ratio
    slot = (mixed ^ (mixed >> 29)) & mask
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def _rehash(keys: Ints, counts: Ints, size: int) -> tuple[Ints, Ints]:
    new_keys = np.full(size, -1, np.int64)
    new_counts = np.zeros(size, np.int64)
    for i in range(keys.size):
        if keys[i] != -1:
            slot = _find_slot(new_keys, keys[i])
            new_keys[slot] = keys[i]
            new_counts[slot] = counts[i]
    return new_keys, new_counts
