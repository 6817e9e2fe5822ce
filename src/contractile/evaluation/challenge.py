"""A result folder of the Cell Tracking Challenge against its truth: `01_RES` against `01_GT`.

The truth holds `SEG` (some frames, whole outlines), `TRA` (all frames, markers, `man_track.txt`), or
both. The result holds a label image per frame and, for TRA, `res_track.txt`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contractile.errors import ContractileError
from contractile.evaluation.measures import EvaluateConfig, Floats, Measured, select_in_field
from contractile.evaluation.pairs import ROLES, Labels, Pair, Prediction, is_path, some
from contractile.images import Source, find, read_labels

if TYPE_CHECKING:
    from contractile.metrics.contingency import Objects
    from contractile.metrics.ctc import GraphErrors

NO_TRACKS = "needs res_track.txt beside the predicted masks and man_track.txt in the folder TRA of the truth"


@dataclass(frozen=True)
class Sequence:
    """The files of one image sequence, by frame. `seg` keys carry the slice too, -1 for the whole frame."""

    predicted: dict[int, Source]
    seg: dict[tuple[int, int], Source]
    tra: dict[int, Source]
    predicted_tracks: Path
    true_tracks: Path

    @property
    def has_tracks(self) -> bool:
        """Whether TRA can be scored."""
        return bool(self.tra) and self.predicted_tracks.is_file() and self.true_tracks.is_file()


def is_challenge(truth: Any) -> bool:
    """Whether the truth is a folder laid out as the challenge does it."""
    return is_path(truth) and isinstance(truth, str | Path) and any((Path(truth) / n).is_dir() for n in ("SEG", "TRA"))


def open_sequence(predicted: Any, truth: str | Path, dims: int) -> Sequence:
    """List the files. Raises ValueError when a frame of the truth has no prediction, naming it."""
    root = Path(truth)
    frames = {_number(s)[-1]: s for s in find(predicted, dims=dims) if "_overlay" not in s.name}
    slices = find(root / "SEG", dims=2) if (root / "SEG").is_dir() else []
    seg = {(n[0], n[1] if dims == 3 and len(n) > 1 else -1): s for s in slices if (n := _number(s))}
    if dims == 3 and any(plane < 0 for _, plane in seg):
        seg = {(_number(s)[0], -1): s for s in find(root / "SEG", dims=3)}
    tra = {_number(s)[-1]: s for s in find(root / "TRA", dims=dims)} if (root / "TRA").is_dir() else {}
    missing = sorted(({frame for frame, _ in seg} | set(tra)) - set(frames))
    if missing:
        raise ContractileError(
            f"no mask for frame {some([str(n) for n in missing])} of {truth}", "predict all frames", where=predicted
        )
    folder = Path(predicted) if isinstance(predicted, str | Path) else Path(predicted[0]).parent
    return Sequence(frames, seg, tra, folder / "res_track.txt", root / "TRA" / "man_track.txt")


def list_pairs(sequence: Sequence, dims: int) -> list[Pair]:
    """The annotated frames as pairs, for any group of scores: `SEG` if there, else `TRA`."""
    if sequence.seg:
        return [_seg_pair(sequence, frame, plane, dims) for frame, plane in sorted(sequence.seg)]
    return [_pair(name_frame(t), sequence.predicted[t], sequence.tra[t], dims) for t in sorted(sequence.tra)]


def name_frame(frame: int) -> str:
    """Frame 7 is image `t007`."""
    return f"t{frame:03d}"


def frame_order(name: str) -> list[int]:
    """Sorts `t7`, `t10`, `t10_002` by number."""
    return [int(digits) for digits in name[1:].split("_")]


def measure_frames(sequence: Sequence, config: EvaluateConfig) -> tuple[dict[str, Measured], Floats | str]:
    """DET of each frame of `TRA`, by name, and the errors of the sequence's graph for TRA (or why not).

    Raises ValueError for tracks that cannot be read or do not fit the masks, naming the file.
    """
    from contractile.metrics import ctc

    frames: dict[int, Objects] = {}
    held: dict[int, list[int]] = {}
    true_held: dict[int, list[int]] = {}
    for frame, source in sorted(sequence.tra.items()):
        predicted = read_labels(sequence.predicted[frame], dims=config.dims)
        truth = read_labels(source, dims=config.dims)
        check_shapes(predicted.shape, truth.shape, sequence.predicted[frame], source)
        frames[frame] = select_in_field(predicted, truth, config.border)
        held[frame], true_held[frame] = _list_labels(predicted), _list_labels(truth)
    detection: dict[str, Measured] = {
        name_frame(t): {"det": _terms(ctc.count_detection_errors(objects))} for t, objects in frames.items()
    }
    if not sequence.has_tracks:
        return detection, NO_TRACKS
    tracks = [
        _read_tracks(path, labels)
        for path, labels in ((sequence.predicted_tracks, held), (sequence.true_tracks, true_held))
    ]
    return detection, _terms(ctc.count_tracking_errors(frames, tracks[0], tracks[1]))


def check_shapes(predicted: tuple[int, ...], truth: tuple[int, ...], where: Any, truth_where: Any) -> None:
    """Raise ValueError unless prediction and truth have one shape."""
    if predicted != truth:
        names = [s.path if isinstance(s, Source) else s for s in (where, truth_where)]
        raise ContractileError(
            f"predicted {predicted} pixels for a truth of {truth} ({names[1]})",
            "predict the image that the truth was drawn on",
            where=names[0],
        )


def _terms(errors: GraphErrors) -> Floats:
    return np.array(errors.as_tuple(), np.float64)


def _list_labels(labels: Labels) -> list[int]:
    return [int(label) for label in np.unique(labels) if label > 0]


def _read_tracks(path: Path, held: dict[int, list[int]]) -> Any:
    from contractile.metrics import ctc

    try:
        tracks = ctc.parse_tracks(path.read_text(encoding="utf-8"))
        ctc.check_tracks(tracks, held)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return tracks


def _number(source: Source) -> list[int]:
    """The numbers in a name such as mask007, t007_labels, man_seg_007_012."""
    numbers = [int(digits) for digits in re.findall(r"\d+", ROLES.sub("", source.name))]
    if not numbers:
        raise ContractileError(
            "the name must end in the number of its frame", "rename it like mask007.tif", where=source.path
        )
    return numbers


def _seg_pair(sequence: Sequence, frame: int, plane: int, dims: int) -> Pair:
    predicted, truth = sequence.predicted[frame], sequence.seg[frame, plane]
    if plane < 0:
        return _pair(name_frame(frame), predicted, truth, dims)

    def read_plane() -> Prediction:
        return Prediction(read_labels(predicted, dims=3)[plane : plane + 1], None)

    name = f"{name_frame(frame)}_{plane:03d}"
    return Pair(name, str(predicted.path), str(truth.path), lambda: read_labels(truth, dims=2)[None], read_plane)


def _pair(name: str, predicted: Source, truth: Source, dims: int) -> Pair:
    return Pair(
        name,
        str(predicted.path),
        str(truth.path),
        lambda: read_labels(truth, dims=dims),
        lambda: Prediction(read_labels(predicted, dims=dims), None),
    )
