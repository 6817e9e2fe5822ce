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
from contractile.evaluation.pairs import Pair, list_predictions, place, read_pixel_size
from contractile.evaluation.predictions import MAP, ROLES, Labels, Prediction, Reader
from contractile.images import Source, describe, find, list_files, read_labels, stem
from contractile.images.names import some
from contractile.metrics import ctc
from contractile.metrics.metric import Floats, Ints

if TYPE_CHECKING:
    from contractile.metrics.contingency import Objects

NO_TRACKS = "needs res_track.txt beside the predicted masks and man_track.txt in the folder TRA of the truth"


Place = tuple[int, ...]  # frame, slice; slice -1 is the whole frame


@dataclass(frozen=True)
class Sequence:
    """The files of one image sequence, by frame; those of `seg` also by slice."""

    predicted: dict[int, Source]
    seg: dict[Place, Source]
    tra: dict[int, Source]
    predicted_tracks: Path
    true_tracks: Path


def is_challenge(truth: Any) -> bool:
    """Whether the truth is a folder with the layout of the challenge."""
    return isinstance(truth, str | Path) and bool(_folders(truth))


def check_options(truth: str | Path, config: EvaluateConfig) -> None:
    """Raise ContractileError for options of predictions that may be anything: here they are masks."""
    given = {"classes": config.classes, "white": config.white, "probabilities": config.probabilities or None}
    for name, value in given.items():
        if value is not None:
            rule = f"{name} must not be given for a sequence of the Cell Tracking Challenge, whose masks number objects"
            cure = f"leave it out, or give {_folders(truth)[0]} as the truth"
            raise ContractileError(f"{rule}, got {value}", cure, where=truth)


def open_sequence(predicted: Any, truth: str | Path, dims: int, axes: str | None = None) -> Sequence:
    """List the files, whose axes are `axes` (`find`).

    Raises ContractileError when a frame of the truth has no prediction, or one side has two masks of a frame.
    """
    root = _root(truth)
    files = [item.files[0] for item in list_predictions(predicted)]
    masks = [file for file in files if not MAP.search(stem(file))] or files or list_files(predicted)
    frames = _by_frame(find(masks, dims=dims, axes=axes, labels=True))
    seg = _open_seg(root / "SEG", dims, axes) if (root / "SEG").is_dir() else {}
    tra = _by_frame(find(root / "TRA", dims=dims, axes=axes, labels=True)) if (root / "TRA").is_dir() else {}
    missing = sorted(({frame for frame, _ in seg} | set(tra)) - set(frames))
    if missing:
        raise ContractileError(
            f"no mask for frame {some([str(n) for n in missing])} of {truth}",
            "predict all frames",
            where=place(predicted),
        )
    return Sequence(frames, seg, tra, masks[0].parent / "res_track.txt", root / "TRA" / "man_track.txt")


def list_pairs(sequence: Sequence, reader: Reader) -> list[Pair]:
    """The annotated frames as pairs, for any group of scores: those of `SEG`, or of `TRA` where there is no `SEG`."""
    if not sequence.seg:
        return list_markers(sequence, reader)
    return [_pair(sequence, frame, plane, truth, reader) for (frame, plane), truth in sorted(sequence.seg.items())]


def list_markers(sequence: Sequence, reader: Reader) -> list[Pair]:
    """The frames of `TRA` as pairs, in order."""
    return [_pair(sequence, frame, -1, truth, reader) for frame, truth in sorted(sequence.tra.items())]


def name_frame(frame: int) -> str:
    """Frame 7 is image `t007`."""
    return f"t{frame:03d}"


def frame_order(name: str) -> list[int]:
    """Key that sorts `t7`, `t10` and `t10_002` by number."""
    return [int(digits) for digits in name[1:].split("_")]


def measure_frames(sequence: Sequence, markers: list[Pair], border: int) -> tuple[dict[str, Measured], Floats | str]:
    """Terms of DET for each frame of `TRA`, by name, and of TRA for the sequence (or why TRA is undefined).

    `markers` are the frames, as `list_markers` lists them. Raises ContractileError, which names the file, for tracks
    that cannot be read or do not fit the masks.
    """
    frames: dict[int, Objects] = {}
    held: dict[int, list[int]] = {}
    true_held: dict[int, list[int]] = {}
    for frame, pair in zip(sorted(sequence.tra), markers, strict=True):
        truth, predicted = pair.load_truth(), pair.load_prediction().labels
        assert predicted is not None, "masks are labels"
        check_shapes(predicted.shape, truth.shape, pair.where, pair.truth_where)
        frames[frame] = select_in_field(predicted, truth, border)
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


def _root(truth: str | Path) -> Path:
    return Path(os.path.expanduser(truth))


def _folders(truth: str | Path) -> list[Path]:
    """The folders of a truth that has the layout of the challenge."""
    return [_root(truth) / name for name in ("SEG", "TRA") if os.path.isdir(_root(truth) / name)]


def _open_seg(folder: Path, dims: int, axes: str | None) -> dict[Place, Source]:
    """The masks of `SEG`. Of volumes, a name with two numbers says that the file is a slice: frame 7, slice 12."""
    files = list_files(folder)
    slices = [file for file in files if dims == 3 and len(_numbers(stem(file))) > 1]
    whole = [file for file in files if file not in slices]
    masks = _by_frame(find(whole, dims=dims, axes=axes, labels=True)) if whole else {}
    planes = find(slices, dims=2, axes=axes, labels=True) if slices else []
    found: dict[Place, Source] = {(frame, -1): mask for frame, mask in masks.items()}
    return found | _unique([(_number(source)[:2], source) for source in planes])


def _by_frame(sources: list[Source]) -> dict[int, Source]:
    """The mask of each frame, which is the last number in its name, or its page."""
    found = _unique([((_number(source)[-1], -1), source) for source in sources])
    return {frame: source for (frame, _), source in found.items()}


def _unique(masks: list[tuple[Place, Source]]) -> dict[Place, Source]:
    """Masks by (frame, slice). Raises ContractileError for two at one place."""
    found: dict[Place, Source] = {}
    for at, source in masks:
        other = found.setdefault(at, source)
        if other is not source:
            problem = f"a second mask of frame {at[0]} beside {describe(other)}"
            cure = "keep one for each frame, or say that these are volumes (--dims 3, dims=3)"
            raise ContractileError(problem, cure, where=describe(source))
    return found


def _numbers(name: str) -> tuple[int, ...]:
    """The numbers in a name such as mask007, t007_labels, man_seg_007_012."""
    return tuple(int(digits) for digits in re.findall(r"\d+", ROLES.sub("", name)))


def _number(source: Source) -> tuple[int, ...]:
    """The numbers in the name of a mask, at least one."""
    numbers = _numbers(source.name)
    if not numbers:
        raise ContractileError(
            "the name must end in the number of its frame", "rename it like mask007.tif", where=source.path
        )
    return numbers


def _pair(sequence: Sequence, frame: int, plane: int, truth: Source, reader: Reader) -> Pair:
    """A frame, or one of its slices (Y, X) where `plane` is at least 0."""
    predicted, dims = sequence.predicted[frame], reader.dims if plane < 0 else 2

    def read_prediction() -> Prediction:
        labels = reader.read_mask(predicted)
        if plane >= len(labels):
            problem = f"must hold slice {plane}, which {truth.path} annotates, got {len(labels)} slices"
            raise ContractileError(problem, "predict the volume that the truth was drawn on", where=predicted.path)
        return Prediction(labels if plane < 0 else labels[plane], None)

    def read_truth() -> Labels:
        return read_labels(truth, dims=dims)

    name = name_frame(frame) + (f"_{plane:03d}" if plane >= 0 else "")
    return Pair(
        name,
        name,
        describe(predicted),
        describe(truth),
        read_truth,
        read_prediction,
        lambda: read_pixel_size([truth], dims),
        files=(*predicted.files, *truth.files),
    )
