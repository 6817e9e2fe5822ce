"""The words of a call: places of files, values of options, and what to say about a call that is wrong."""

from __future__ import annotations

import glob
import logging
import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import typer

from contractile.cli.complaints import explain_wrong_call as explain_parser
from contractile.errors import ContractileError, NotFound, explain_fault, nearest

NOT_FINISHED, WRONG_CALL = 1, 2
SHOWN = 4  # words of a call that are repeated in a message
QUOTES = "'\"`\u2018\u2019\u201c\u201d"

logger = logging.getLogger(__name__)

T = TypeVar("T")
Place = TypeVar("Place", str, list[str], None)


def tidy(place: Place) -> Place:
    """Places of files as somebody typed them: quotes go and backslashes become slashes where something is there then.

    Some shells leave quotes around a word, and a word copied from a page or from Windows brings its own.
    """
    if isinstance(place, list):
        return [tidy(one) for one in place]
    if place is None or _is_there(place):
        return place
    plain = place.strip(QUOTES)
    return next((one for one in (plain, plain.replace("\\", "/")) if one and _is_there(one)), place)


def _is_there(place: str) -> bool:
    with suppress(OSError, ValueError):  # a name that no file can have
        path = os.path.expanduser(place)
        return os.path.exists(path) or (glob.has_magic(path) and any(glob.iglob(path, recursive=True)))
    return False


def bound(call: typer.Context, option: typer.CallbackParam, value: Any) -> Any:
    """Set what is read at most, until the call has ended: --max-pixels or --allow-missing."""
    if value is None or value is False:
        return value
    from contractile.images.gate import limited

    if option.name == "max_pixels" and value < 1:
        raise ContractileError(f"--max-pixels must be at least 1, got {value}", "leave it out")
    call.with_resource(limited(missing=True) if value is True else limited(pixels=value))
    return value


def limit(call: typer.Context, text: str | None) -> str | None:
    """Limit the memory of the process until the call has ended: --memory."""
    if text is None:
        return None
    from contractile.memory import limited_memory, parse_bytes

    try:
        call.with_resource(limited_memory(parse_bytes(text)))
    except ContractileError as error:
        raise ContractileError(f"--{error.problem}", error.cure) from None
    return text


@contextmanager
def connected(scheduler: str | None) -> Iterator[Any]:
    """The workers of a scheduler; None without one: this process does the work."""
    if scheduler is None:
        yield None
        return
    from contractile.work import connect

    with connect(scheduler) as work:
        yield work


def split_models(first: Path, words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(models, images) of the words of predict: the words after the first model that name models, then the rest."""
    from contractile.model import is_model

    number = next((n for n, word in enumerate(words) if not is_model(word)), len(words))
    if number == len(words):
        names = ", ".join(map(str, (first, *words)))
        raise ContractileError(f"predict takes models and then images, got models alone ({names})", "add the images")
    return [first, *map(Path, words[:number])], list(words[number:])


def expand(path: Path | None) -> Path | None:
    """A path whose ~ is a home folder: shells leave it as it is in --out=~/run."""
    return None if path is None else Path(os.path.expanduser(path))


def refuse_more(call: typer.Context, places: Sequence[str | None], options: Sequence[str | None] = ()) -> None:
    """Raise ContractileError where a verb that takes these `places` got more: the files of a pattern, most likely.

    `options` are the places that options name; a pattern behind one of them gives more words, too.
    """
    if not call.args:
        return
    verb = call.info_name
    takes = "PREDICTED and TRUTH" if verb == "evaluate" else "IMAGES and LABELS"
    words = [word for word in places if word] + call.args
    problem = f"{verb} takes {takes}, got {len(words)} words ({_some(words)})"
    groups = _by_pattern([*words, *(option for option in options if option)])
    if all(len(files) == 1 for files in groups.values()):
        raise ContractileError(problem, "the value of an option follows its name, as in --out run")
    patterns = [pattern if len(files) > 1 else files[0] for pattern, files in groups.items()]
    if len(patterns) != 2 and not (verb == "check" and len(patterns) == 1):
        patterns = ["images/*.tif", "labels/*.tif"]
    folders = [str(Path(one).parent) if glob.has_magic(one) else one for one in patterns]
    cure = "quote the pattern, or the shell puts its files in its place"
    raise ContractileError(
        problem, f"{cure}: {verb} {shlex.join(patterns)}; or give the folder: {verb} {shlex.join(folders)}"
    )


def _by_pattern(words: Sequence[str]) -> dict[str, list[str]]:
    """Words that one pattern may have given: files of one suffix in one folder."""
    groups: dict[str, list[str]] = {}
    for word in words:
        path = Path(word)
        groups.setdefault(f"{path.parent / '*'}{path.suffix}" if path.suffix else word, []).append(word)
    return groups


def find_labels(images: str, verb: str) -> str:
    """The place of the labels where LABELS were not given: that of the images, when it holds both. This is said.

    Raises ContractileError where it holds no labels that can be told from images, NotFound where nothing is there.
    """
    from contractile.images.layouts import list_items

    try:
        pictures, truths = list_items(images)
    except NotFound:
        raise
    except ContractileError as error:
        problem = f"LABELS are missing, and {images} holds none that can be told from images ({error.problem})"
        cure = f"give both: {verb} IMAGES LABELS; or a folder that holds both, such as images and masks"
        raise ContractileError(problem, cure) from error
    found = f"images such as {pictures[0].files[0]} and labels such as {truths[0].files[0]}"
    logger.warning("%s holds both: %s", images, found)
    return images


def leave_out_others(places: list[str]) -> list[str]:
    """Of several places those that are no files of another format, which a pattern such as images/* brings along.

    A warning names the others. A broken image is none of these: its name is that of an image, or it cannot be opened.
    Where nothing else is left, all stay, and whoever opens them says what they are.
    """
    from contractile.images.formats import kind_of
    from contractile.images.known import SUFFIXES

    def is_other(place: str) -> bool:
        if Path(place).suffix.lower() in SUFFIXES or not os.path.isfile(place) or not os.access(place, os.R_OK):
            return False
        try:
            return not kind_of(Path(place))
        except ContractileError:
            return True

    others = [place for place in places if is_other(place)] if len(places) > 1 else []
    if len(others) == len(places):
        return places
    if others:
        names = _some(others)
        logger.warning("%d of the %d files are no images and are left out: %s", len(others), len(places), names)
    return [place for place in places if place not in others]


def refuse_image(model: Path, verb: str) -> None:
    """Raise ContractileError for a file that cannot be a model: `predict images/*.tif` lacks it."""
    from contractile.model import is_model

    if os.path.isfile(model) and not is_model(model):
        raise ContractileError(
            f"the first word must be a model, got the file {model}",
            f"name the model before the images: {verb} nuclei images/*.tif",
        )


def explain_wrong_call(message: str, words: Sequence[str]) -> str:
    """A complaint about a call, with the cure where a word is missing or the name of a file was taken for an option."""
    return explain_parser(message, words, [word for word in words if word.startswith("-") and _is_there(word)])


def configure(kind: type[T], **options: Any) -> T:
    """A configuration from options. Raises ContractileError for what pydantic refuses, naming the option."""
    from pydantic import BaseModel, ValidationError

    assert issubclass(kind, BaseModel)
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        fault = explain_fault(error.errors()[0], kind)
        option = f"{option_of(fault.field)} " if fault.field else ""
        raise ContractileError(f"{option}{fault.problem}", fault.cure) from None


def option_of(field: str) -> str:
    """The option that sets a field of a configuration."""
    return f"--{field.split('.')[0].replace('backend', 'engine').replace('_', '-')}"


def choose(text: str, known: Collection[str], option: str) -> list[str]:
    """The words of a comma-separated list. Raises ContractileError for one that is not known, and for none."""
    words = listed(text) or []
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        match = nearest(unknown[0], known) if unknown else None
        problem = f"{option} must be among {', '.join(known)}, got {', '.join(unknown) or 'none'}"
        raise ContractileError(problem, f"write {match or next(iter(known))}")
    return words


def choose_one(text: str, known: Collection[str], option: str) -> str:
    """The one word that is chosen. Raises ContractileError for one that is not known."""
    if text not in known:
        problem = f"{option} must be one of {', '.join(known)}, got {text or 'none'}"
        raise ContractileError(problem, f"write {nearest(text, known) or next(iter(known))}")
    return text


def two_or_three(dims: int | None) -> int | None:
    """The number of axes of an image, where it was given. Raises ContractileError for others."""
    if dims not in (None, 2, 3):
        raise ContractileError(f"--dims must be 2, or 3 for volumes, got {dims}", "use 2")
    return dims


def given(**options: T | None) -> dict[str, T]:
    """The options that were given: those that are not None or False."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def diameter_of(text: str | None) -> Any:
    """Pixels, "estimate", or None where the option was not given."""
    if text is None or text == "estimate":
        return text
    try:
        return float(text)
    except ValueError:
        raise ContractileError(
            f"diameter must be a number of pixels or 'estimate', got {text!r}", "use e.g. 30"
        ) from None


def say_unused(option: str, unused: bool, why: str) -> None:
    """Warn of an option that was given and changes nothing."""
    if unused:
        logger.warning("%s changes nothing: %s", option, why)


def listed(text: str | None) -> list[str] | None:
    """The words of a comma-separated list; None where the option was not given, or is empty."""
    return [word.strip() for word in text.split(",") if word.strip()] if text else None


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
