"""A result folder of the Cell Tracking Challenge against its truth: `01_RES` against `01_GT`.

The truth holds the folder `SEG` (whole outlines in some frames), the folder `TRA` (markers in all frames and
`man_track.txt`), or both. The result holds one label image per frame and, for TRA, `res_track.txt`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contractile.errors import ContractileError
from contractile.evaluation.measures import EvaluateConfig, Measured, select_in_field
from contractile.evaluation.pairs import Pair, place
from contractile.evaluation.predictions import ROLES, Labels, Prediction
from contractile.images import Source, find, read_labels
from contractile.images.names import some
from contractile.metrics import ctc
from contractile.metrics.metric import Floats, Ints

if TYPE_CHECKING:
    from contractile.metrics.contingency import Objects

NO_TRACKS = "needs res_track.txt beside the predicted masks and man_track.txt in the folder TRA of the truth"


@dataclass(frozen=True)
class Sequence:
    """The files of one image sequence, by frame. A key of `seg` is (frame, slice); slice -1 is the whole frame."""

    predicted: dict[int, Source]
    seg: dict[tuple[int, int], Source]
    tra: dict[int, Source]
    predicted_tracks: Path
    true_tracks: Path


def is_challenge(truth: Any) -> bool:
    """Whether the truth is a folder with the layout of the challenge."""
    return isinstance(truth, str | Path) and any(os.path.isdir(Path(truth) / name) for name in ("SEG", "TRA"))


def open_sequence(predicted: Any, truth: str | Path, dims: int) -> Sequence:
    """List the files. Raises ContractileError when a frame of the truth has no prediction."""
    root = Path(truth)
    frames = {_number(s)[-1]: s for s in find(predicted, dims=dims, labels=True) if "_overlay" not in s.name}
    slices = find(root / "SEG", dims=2, labels=True, quiet=dims == 3) if (root / "SEG").is_dir() else []
    seg = {(n[0], n[1] if dims == 3 and len(n) > 1 else -1): s for s in slices if (n := _number(s))}
    if dims == 3 and any(plane < 0 for _, plane in seg):
        seg = {(_number(s)[0], -1): s for s in find(root / "SEG", dims=3, labels=True)}
    tra = {_number(s)[-1]: s for s in find(root / "TRA", dims=dims, labels=True)} if (root / "TRA").is_dir() else {}
    missing = sorted(({frame for frame, _ in seg} | set(tra)) - set(frames))
    if missing:
        raise ContractileError(
            f"no mask for frame {some([str(n) for n in missing])} of {truth}",
            "predict all frames",
            where=place(predicted),
        )
    folder = Path(predicted) if isinstance(predicted, str | Path) else Path(predicted[0]).parent
    return Sequence(frames, seg, tra, folder / "res_track.txt", root / "TRA" / "man_track.txt")


def list_pairs(sequence: Sequence, dims: int) -> list[Pair]:
    """The annotated frames as pairs, for any group of scores: those of `SEG`, or of `TRA` where there is no `SEG`."""
    chosen = sequence.seg or {(frame, -1): truth for frame, truth in sequence.tra.items()}
    return [_pair(sequence, frame, plane, chosen[frame, plane], dims) for frame, plane in sorted(chosen)]


def name_frame(frame: int) -> str:
    """Frame 7 is image `t007`."""
    return f"t{frame:03d}"


def frame_order(name: str) -> list[int]:
    """Key that sorts `t7`, `t10` and `t10_002` by number."""
    return [int(digits) for digits in name[1:].split("_")]


def measure_frames(sequence: Sequence, config: EvaluateConfig) -> tuple[dict[str, Measured], Floats | str]:
    """Terms of DET for each frame of `TRA`, by name, and of TRA for the sequence (or why TRA is undefined).

    Raises ContractileError, which names the file, for tracks that cannot be read or do not fit the masks.
    """
    frames: dict[int, Objects] = {}
    held: dict[int, list[int]] = {}
    true_held: dict[int, list[int]] = {}
    for frame, source in sorted(sequence.tra.items()):
        predicted = read_labels(sequence.predicted[frame], dims=config.dims)
        truth = read_labels(source, dims=config.dims)
        check_shapes(predicted.shape, truth.shape, sequence.predicted[frame].path, source.path)
        frames[frame] = select_in_field(predicted, truth, config.border)
        held[frame], true_held[frame] = (np.unique(labels[labels > 0]).tolist() for labels in (predicted, truth))
    detection: dict[str, Measured] = {
        name_frame(t): {"det": ctc.count_detection_errors(objects).array} for t, objects in frames.items()
    }
    if not (sequence.predicted_tracks.is_file() and sequence.true_tracks.is_file()):
        return detection, NO_TRACKS
    tracks = [
        _read_tracks(path, labels)
        for path, labels in ((sequence.predicted_tracks, held), (sequence.true_tracks, true_held))
    ]
    return detection, ctc.count_tracking_errors(frames, tracks[0], tracks[1]).array


def check_shapes(predicted: tuple[int, ...], truth: tuple[int, ...], where: object, truth_where: object) -> None:
    """Raise ContractileError unless prediction and truth have the same shape."""
    if predicted != truth:
        raise ContractileError(
            f"predicted {predicted} pixels for a truth of {truth} ({truth_where})",
            "predict the image that the truth was drawn on",
            where=where,
        )


def _read_tracks(path: Path, held: dict[int, list[int]]) -> Ints:
    try:
        tracks = ctc.parse_tracks(path.read_text(encoding="utf-8", errors="replace"))
        ctc.check_tracks(tracks, held)
    except ContractileError as error:
        raise error.at(path) from None
    return tracks


def _number(source: Source) -> list[int]:
    """The numbers in a name such as mask007, t007_labels, man_seg_007_012."""
    numbers = [int(digits) for digits in re.findall(r"\d+", ROLES.sub("", source.name))]
    if not numbers:
        raise ContractileError(
            "the name must end in the number of its frame", "rename it like mask007.tif", where=source.path
        )
    return numbers


def _pair(sequence: Sequence, frame: int, plane: int, truth: Source, dims: int) -> Pair:
    """A frame, or one of its slices where `plane` is at least 0."""
    predicted = sequence.predicted[frame]

    def read_truth() -> Labels:
        return read_labels(truth, dims=dims) if plane < 0 else read_labels(truth, dims=2)[None]

    def read_prediction() -> Prediction:
        labels = read_labels(predicted, dims=dims)
        return Prediction(labels if plane < 0 else labels[plane : plane + 1], None)

    name = name_frame(frame) + (f"_{plane:03d}" if plane >= 0 else "")
    return Pair(name, str(predicted.path), str(truth.path), read_truth, read_prediction)
