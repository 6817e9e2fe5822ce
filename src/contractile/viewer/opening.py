"""What somebody names on the command line -> the images, labels, model and folder of a session."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError, NotFound
from contractile.images import Source, read_labels
from contractile.images.layouts import holds_both
from contractile.model import ModelCard, is_model, read_card
from contractile.viewer.finding import (
    Found,
    Meaning,
    find_images,
    named_as_kept,
    open_again,
    pair_images,
    paired_images,
)
from contractile.viewer.remembered import AGAIN, Remembered, Task, is_session, read_session, recall
from contractile.viewer.session_file import plain_name

Place = str | Path | Sequence[str | Path]

SESSION = "session"  # the folder of a session, unless it has a name
MOST_CLASSES = 32
LONGEST = 7 * 24 * 60  # minutes
LOOKED_AT = 3  # label files whose values show the classes
HELD_OUT = 0.1  # of a run's images, where none were given to validate on


@dataclass(frozen=True)
class Opening:
    """What a session is opened with.

    `truths` are the labels that are known of some images, by number. With `begins` the annotation begins with them;
    else they are only shown. `classes` are names by value; empty for objects.
    """

    folder: Path
    sources: tuple[Source, ...]
    task: Task
    classes: Mapping[int, str] = field(default_factory=dict)
    model: Path | None = None
    truths: Mapping[int, Source] = field(default_factory=dict)
    begins: bool = True


def open_places(
    what: Place | None,
    labels: Place | None = None,
    *,
    out: str | Path | None = None,
    start: str | Path | None = None,
    task: str | None = None,
    classes: str | Sequence[str] | None = None,
    axes: str | None = None,
) -> Opening:
    """Find what a session is about.

    `what` is a folder, glob, file or list of images; the folder of a session, to go on with it; or a run or a model,
    and then `labels` are its images (without them those that a run was validated on). `labels` are annotations to begin
    with. Images and labels are what `train` takes, and may lie in one place. `out` is the folder of the session,
    `start` a model to learn on from. `axes` are the letters of the axes of the image files; a session keeps them.

    Raises ContractileError for words that do not fit together, NotFound where nothing is there, and as `pair_up`.
    """
    names = split_names(classes)
    asked = check_task(task, names)
    if what is None and out is not None and is_session(out):
        what, out = out, None
    if what is None:
        raise ContractileError("images are missing", AGAIN)
    if isinstance(what, str | Path) and is_session(what):
        found_again = _go_on(Path(what), labels, out, start, axes)
        return replace(found_again, task=asked or found_again.task, classes=names or found_again.classes)
    if isinstance(what, str | Path) and is_model(what):
        return _open_model(Path(what), labels, out, start, asked, axes)
    both = labels is None and holds_both(what if isinstance(what, str | Path) else [Path(one) for one in what])
    folder, model = _folder([] if both else what, out), None if start is None else model_file(start)
    card, kept = None if model is None else read_card(model), _kept(folder)
    axes = axes or kept.axes
    if both or labels is not None:
        found = pair_images(_place(what), labels, axes, meaning=Meaning.of(card, asked))
    else:
        found = Found(find_images(_place(what), axes, channels=_channels(card), kept=kept.images))
    told = asked or (card.task if card is not None else None)
    if asked is None and is_session(folder):
        settled, names = read_session(folder)
    else:
        drawn = (one.drawn for one in found.truths.values())
        by_name = any(one is not None and one.numbering.classes for one in drawn)
        settled = told or ("classes" if by_name else "objects")
        names = names or (name_classes(card, list(found.truths.values())) if settled == "classes" else {})
    return Opening(folder, named_as_kept(found.sources, kept.images), settled, names, model, found.truths)


def _open_model(
    model: Path, images: Place | None, out: Any, start: Any, task: Task | None, axes: str | None
) -> Opening:
    """What a model says about images; of a run about those that it was validated on, where none are named."""
    if start is not None:
        raise ContractileError(f"--start and the model {model} exclude each other", "name one model")
    file, card = model_file(model), read_card(model)
    if task is not None and task != card.task:
        raise ContractileError(f"task must be that of the model, {card.task}, got {task}", "leave it out")
    axes = axes or card.axes
    if images is None:
        place, found = find_validation(model, card, axes)
        folder = _folder(place, out)
    else:
        folder = _folder(images, out)
        found = Found(find_images(_place(images), axes, channels=_channels(card), kept=_kept(folder).images))
    names = name_classes(card, []) if card.task == "classes" else {}
    sources = named_as_kept(found.sources, _kept(folder).images)
    return Opening(folder, sources, card.task, names, file, found.truths, begins=False)


def _go_on(folder: Path, labels: Place | None, out: Any, start: Any, axes: str | None) -> Opening:
    """A session that is there already, with the images that it was made of."""
    if labels is not None or out is not None:
        given = "LABELS" if labels is not None else "--out"
        raise ContractileError(f"{given} and the session {folder} exclude each other", f"write: view {folder}")
    task, names = read_session(folder)
    kept = recall(folder)
    missing = [file for file in kept.files if not os.path.exists(file)]
    if missing:
        files = f"{len(missing)} of {len(kept.files)} images"
        problem = f"{files} of the session are not there any more, such as {missing[0]}"
        raise NotFound(problem, f"name their place: contractile view IMAGES --out {folder}", where=folder)
    model = None if start is None else model_file(start)
    return Opening(folder, tuple(open_again(kept.images, axes)), task, names, model, {})


def _kept(folder: Path) -> Remembered:
    """What a session in this folder has kept of its images; nothing where there is none, or it does not say."""
    with suppress(ContractileError):
        return recall(folder)
    return Remembered([])


def _channels(card: ModelCard | None) -> int:
    """How many channels a model takes, whose files are one image then; 1 without a model."""
    return 1 if card is None else card.network.channels


def find_validation(run: Path, card: ModelCard, axes: str | None = None) -> tuple[Place, Found]:
    """The images and labels that a run was validated on, as its command named them, and the place of these images.

    Where it named none they are the last tenth of the images with labels: those that a run holds out. Raises
    ContractileError where the model does not say, or they are not there any more.
    """
    words = shlex.split(str(card.provenance.get("command", "")))
    given = {name: words[at + 1] for at, name in enumerate(words[:-1]) if name in ("--val-images", "--val-labels")}
    named = list(takewhile(lambda word: not word.startswith("-"), words[2:4])) if words[1:2] == ["train"] else []
    images, labels = (given.get(f"--val-{side}") for side in ("images", "labels"))
    if images and labels and os.path.exists(images) and os.path.exists(labels):
        return images, paired_images(images, labels, axes, Meaning.of(card))
    if not given and named and all(map(os.path.exists, named)):
        return [], paired_images(named[0], named[1] if named[1:] else None, axes, Meaning.of(card), last=HELD_OUT)
    problem = f"the model {run} does not say which images it was validated on, or they are not in this folder"
    raise ContractileError(problem, f"name images: contractile view {run} images")


def model_file(place: str | Path) -> Path:
    """The file of a model, run or pretrained model. Raises NotFound where there is none."""
    from contractile.model import PRETRAINED

    path = Path(os.path.expanduser(place))
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        return path
    if str(place) in PRETRAINED:
        return PRETRAINED[str(place)]
    others = ", ".join(PRETRAINED)
    raise NotFound("no model is there", f"give a run, a model file, or a pretrained model ({others})", where=place)


def split_names(classes: str | Sequence[str] | None) -> dict[int, str]:
    """The names of classes by value, from "background,nucleus": the first is background, 0.

    Raises ContractileError for fewer than two names, names that repeat, and too many.
    """
    if classes is None:
        return {}
    names = [name.strip() for name in (classes.split(",") if isinstance(classes, str) else classes)]
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names) or "" in names:
        problem = f"classes must be 2 to {MOST_CLASSES} names, each once, got {', '.join(names) or 'none'}"
        raise ContractileError(problem, "give e.g. background,nucleus")
    return dict(enumerate(names))


def check_task(task: str | None, names: Mapping[int, str]) -> Task | None:
    """The task that was asked for; names of classes ask for classes. Raises ContractileError for another one."""
    if task not in (None, "objects", "classes"):
        raise ContractileError(f"task must be objects or classes, got {task!r}", "use objects")
    if names and task == "objects":
        raise ContractileError("the task objects has no classes", "leave out the names of classes, or use task classes")
    return "classes" if names else task  # type: ignore[return-value]


def check_minutes(minutes: float) -> None:
    """Raise ContractileError for a time in which nothing can be learned, or that never ends."""
    if not 0 < minutes <= LONGEST:
        raise ContractileError(f"minutes must be a number above 0 and up to {LONGEST:,}, got {minutes}", "use e.g. 10")


def name_classes(card: ModelCard | None, labels: Sequence[Source]) -> dict[int, str]:
    """Names of classes that nobody named: by the values of the model, or of the first label files.

    Raises ContractileError where the labels hold more values than there can be classes.
    """
    if card is not None and card.task == "classes":
        names = card.class_names or tuple(map(plain_name, card.class_values))
        return dict(zip(card.class_values, names, strict=True))
    values = set[int]()
    for source in labels[:LOOKED_AT]:
        values |= set(np.unique(read_labels(source)).tolist())
    named = next((one.drawn.numbering.classes for one in labels if one.drawn is not None), ())
    if named and not values - set(range(len(named) + 1)):
        return {0: "background", **dict(enumerate(named, start=1))}
    values = {int(value) for value in values if value >= 0} | {0}
    if len(values) > MOST_CLASSES:
        problem = f"labels of classes hold at most {MOST_CLASSES} values, got {len(values)}"
        raise ContractileError(problem, "are these objects? then use the task objects")
    values |= {1} if len(values) < 2 else set()
    return {value: plain_name(value) for value in sorted(values)}


def _folder(what: Place, out: str | Path | None) -> Path:
    """The folder of the session: by default one in the working folder that is named after the images."""
    if out is not None:
        return Path(os.path.expanduser(out))
    name = Path(what).name.split(".")[0] if isinstance(what, str | Path) and not glob.has_magic(str(what)) else ""
    return Path(f"{name}_{SESSION}" if name else SESSION)


def _place(place: Place) -> str | Path | list[str | Path]:
    return place if isinstance(place, str | Path) else list(place)
