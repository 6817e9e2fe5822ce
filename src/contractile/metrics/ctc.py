"""The scores of the Cell Tracking Challenge: SEG, DET and TRA.

SEG is from Maska et al. 2014 (doi:10.1093/bioinformatics/btu080). DET and TRA are from Matula et al. 2015
(doi:10.1371/journal.pone.0144959): the cost of the edits that turn the predicted graph of objects and links into the
true one (AOGM), divided by the cost of building the true graph from nothing.

A true object is found by the predicted object that covers more than half of it. One predicted object may find several
true ones. An overlap of exactly one half finds nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.metrics.metric import Detail, Floats, Formula, Ints, Metric, Terms, divide, mean

if TYPE_CHECKING:
    from contractile.metrics.contingency import Objects

# Cost of one edit: split a vertex, add a missed one, delete an extra one; delete, add, relabel an edge.
SPLIT_COST, MISSED_COST, EXTRA_COST = 5.0, 10.0, 1.0
REDUNDANT_COST, MISSING_COST, WRONG_COST = 1.0, 1.5, 1.0

Vertex = tuple[int, int]  # frame, label
Edges = dict[tuple[Vertex, Vertex], bool]  # True for the link from a parent to its child


@dataclass(frozen=True)
class GraphErrors(Terms):
    """Edits that turn the predicted graph into the true one, which has so many `vertices` and `edges`.

    Numbers, or arrays of one shape.
    """

    vertices: Any = 0
    splits: Any = 0
    missed: Any = 0
    extra: Any = 0
    edges: Any = 0
    redundant_edges: Any = 0
    missing_edges: Any = 0
    wrong_edges: Any = 0

    @property
    def det(self) -> Floats:
        """1 - AOGM-D / AOGM-D0, at least 0; NaN without true objects."""
        cost, whole = self._vertex_costs
        return 1 - divide(np.minimum(cost, whole), whole)

    @property
    def tra(self) -> Floats:
        """1 - AOGM / AOGM0, at least 0; NaN without true objects."""
        cost, whole = self._vertex_costs
        cost = cost + REDUNDANT_COST * self.redundant_edges + MISSING_COST * self.missing_edges
        cost = cost + WRONG_COST * self.wrong_edges
        whole = whole + MISSING_COST * self.edges
        return 1 - divide(np.minimum(cost, whole), whole)

    @property
    def _vertex_costs(self) -> tuple[Any, Any]:
        """Cost of the edits of vertices, and of adding all true vertices to an empty graph."""
        cost = SPLIT_COST * self.splits + MISSED_COST * self.missed + EXTRA_COST * self.extra
        return cost, MISSED_COST * self.vertices


def find_covering(objects: Objects) -> Ints:
    """(T,) index of the predicted object that covers more than half of each true one, -1 where there is none."""
    covers = 2 * objects.shared > objects.true_sizes[objects.rows]
    found = np.full(len(objects.true_ids), -1, np.int64)
    found[objects.rows[covers]] = objects.cols[covers]
    return found


def score_objects(objects: Objects) -> Floats:
    """(T,) IoU of each true object with the predicted object that covers it, 0 where there is none.

    SEG is the mean over all true objects of all annotated frames. Extra predicted objects cost nothing.
    """
    covers = 2 * objects.shared > objects.true_sizes[objects.rows]
    scores = np.zeros(len(objects.true_ids))
    scores[objects.rows[covers]] = objects.iou[covers]
    return scores


def count_detection_errors(objects: Objects) -> GraphErrors:
    """Errors in the vertices of one frame, for DET."""
    found = find_covering(objects)
    covered = np.bincount(found[found >= 0], minlength=len(objects.pred_ids))
    return GraphErrors(
        vertices=len(found),
        splits=int(np.maximum(covered - 1, 0).sum()),
        missed=int((found < 0).sum()),
        extra=int((covered == 0).sum()),
    )


def count_tracking_errors(
    frames: Mapping[int, Objects], predicted_tracks: NDArray[Any], true_tracks: NDArray[Any]
) -> GraphErrors:
    """Errors in vertices and edges of a sequence, for TRA.

    `frames`: the overlaps of each frame. Tracks (N, 4): label, first frame, last frame, parent (0 for none), as in
    `res_track.txt` and `man_track.txt`. Edges are left out where an end is not in its frame (an object removed at the
    border of the field). Predicted edges count where each end covers exactly one true object: a vertex that has to be
    split loses its edges.
    """
    vertices = sum((count_detection_errors(o) for o in frames.values()), GraphErrors())
    true_objects = {(t, int(i)) for t, o in frames.items() for i in o.true_ids}
    pred_objects = {(t, int(i)) for t, o in frames.items() for i in o.pred_ids}
    true_edges = _keep_edges(_link(true_tracks, frames), true_objects)
    single = {t: _single_partners(o) for t, o in frames.items()}
    mapped: Edges = {}
    for (start, end), parent in _keep_edges(_link(predicted_tracks, frames), pred_objects).items():
        if start[1] in single[start[0]] and end[1] in single[end[0]]:
            ends = ((start[0], single[start[0]][start[1]]), (end[0], single[end[0]][end[1]]))
            mapped[ends] = parent
    kept = [edge for edge in mapped if edge in true_edges]
    return vertices + GraphErrors(
        edges=len(true_edges),
        redundant_edges=len(mapped) - len(kept),
        missing_edges=len(true_edges) - len(kept),
        wrong_edges=sum(mapped[edge] != true_edges[edge] for edge in kept),
    )


def parse_tracks(text: str) -> Ints:
    """The text of `res_track.txt` or `man_track.txt` -> (N, 4): label, first frame, last frame, parent.

    Raises ContractileError for a line that is not four whole numbers, a label that occurs twice, a last frame before
    the first, and a parent that is unknown or does not end before its child begins.
    """
    tracks: dict[int, tuple[int, int, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, first, last, parent = (int(word) for word in line.split())
        except ValueError:
            raise ContractileError(
                f"line {number} must be four whole numbers (label, first, last frame, parent), got {line!r}",
                "write one line per track",
            ) from None
        if label in tracks or first > last or label < 1:
            raise ContractileError(
                f"line {number} must be a new label above 0 with first frame <= last frame, got {line!r}",
                "give every track its own label",
            )
        tracks[label] = (first, last, parent)
    for label, (first, _, parent) in tracks.items():
        if parent and (parent not in tracks or tracks[parent][1] >= first):
            raise ContractileError(
                f"the parent of track {label} must be a track that ends before frame {first}, got {parent}",
                "correct it or write 0",
            )
    return np.array([(k, *v) for k, v in tracks.items()], np.int64).reshape(-1, 4)


def check_tracks(tracks: NDArray[Any], labels: Mapping[int, Sequence[int]]) -> None:
    """Raise ContractileError unless every label in a frame has a track that covers the frame.

    `labels`: the labels above 0 in each frame.
    """
    spans = {int(label): (int(first), int(last)) for label, first, last, _ in tracks}
    for frame, found in labels.items():
        for label in found:
            first, last = spans.get(int(label), (0, -1))
            if not first <= frame <= last:
                got = f"frames {first} to {last}" if last >= 0 else "none"
                raise ContractileError(
                    f"frame {frame} holds label {label}, which must have a track over that frame, got {got}",
                    "add or lengthen the track",
                )


def clear_border(labels: NDArray[Any], border: int) -> NDArray[Any]:
    """Labels (*S) without the objects that lie entirely within `border` pixels of the image's edge in y and x.

    What remains is the challenge's field of interest; objects that reach into it are kept whole. Raises
    ContractileError when the border leaves no field.
    """
    if border < 0 or 2 * border >= min(labels.shape[-2:]):
        raise ContractileError(
            f"border must be at least 0 and leave a field inside {labels.shape[-2:]} pixels, got {border}",
            "use 0 for the whole image",
        )
    if border == 0:
        return labels
    inside = np.unique(labels[..., border:-border, border:-border])
    return np.where(np.isin(labels, inside) | (labels < 0), labels, 0)


def _link(tracks: NDArray[Any], frames: Collection[int]) -> Edges:
    """The links of tracks (N, 4) between frames that are there; a track may end long after the last of them."""
    edges: Edges = {}
    linked = [t for t in sorted(frames) if t + 1 in frames]
    last_frames = {int(label): int(last) for label, _, last, _ in tracks}
    for label, first, last, parent in tracks.tolist():
        within = linked[bisect_left(linked, first) : bisect_left(linked, last)]
        edges |= {((t, label), (t + 1, label)): False for t in within}
        if parent:
            edges[(last_frames[parent], parent), (first, label)] = True
    return edges


def _keep_edges(edges: Edges, objects: set[Vertex]) -> Edges:
    return {ends: parent for ends, parent in edges.items() if ends[0] in objects and ends[1] in objects}


def _single_partners(objects: Objects) -> dict[int, int]:
    """Predicted label -> true label, for predicted objects that cover exactly one true object."""
    found = find_covering(objects)
    covered = np.bincount(found[found >= 0], minlength=len(objects.pred_ids))
    rows = [row for row in np.flatnonzero(found >= 0) if covered[found[row]] == 1]
    return {int(objects.pred_ids[found[row]]): int(objects.true_ids[row]) for row in rows}


def _metric(name: str, meaning: str, formula: Formula, *, counts: int) -> Metric:
    """A score whose first `counts` terms are shown as what is behind it."""

    def explain(sums: Floats) -> Detail:
        names = [field.name for field in fields(GraphErrors)[:counts]]
        return dict(zip(names, sums[:counts].astype(int).tolist(), strict=True))

    return Metric(
        name,
        name.upper(),
        name.upper(),
        f"{meaning} (Cell Tracking Challenge)",
        group="ctc",
        formula=formula,
        undefined="the truth holds no object",
        explain=explain,
    )


METRICS = (
    _metric("seg", "mean IoU of the true objects; a missed object counts 0", mean, counts=0),
    _metric(
        "det", "how well objects are found, apart from their outlines", lambda sums: GraphErrors.of(sums).det, counts=4
    ),
    _metric(
        "tra", "how well objects are found and followed over time", lambda sums: GraphErrors.of(sums).tra, counts=8
    ),
)
