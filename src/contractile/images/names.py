"""What file names say: which label file belongs to which image, and which files are images, labels or neither."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from contractile.images import known

Way = Literal["names", "differences", "numbers", "order", "alone"]
HOW = {
    "names": "by their names",
    "differences": "by the parts of their names that differ",
    "numbers": "by their numbers alone",
    "order": "in their order",
    "alone": "since there is one of each, though their numbers differ",
}
EXAMPLES = 2  # pairs that are shown

LETTER = r"[^\W\d_]"
GAP = r"[\s_.\-]"
PICTURE = r"(?:images?|imgs?)"
STAGE = rf"(?:{GAP}stage{GAP}?\d)?"  # of ilastik's Autocontext
OBJECT = rf"(?:blockwise{GAP})?objects?{GAP}"  # begins the names of what ilastik exports of objects
LABEL_WORDS = (
    rf"(?:cp{GAP}?)?masks?{PICTURE}?|msks?|labels?{PICTURE}?|labell?ed|lbls?|labs?|"
    rf"(?:man(?:ual)?{GAP}?)?segs?|(?:simple{GAP}?|multicut{GAP})?segmentations?(?:{GAP}?masks?)?{STAGE}|segmented|segmasks?|"
    rf"gt|(?:ground{GAP}?)?truth|annotations?|annotated|instances?|{OBJECT}(?:predictions?|identities)"
)
IMAGE_WORDS = rf"{PICTURE}|im|raw{PICTURE}?|volumes?|inputs?|originals?|orig|photos?"
# What Cellpose, ilastik and this package write beside labels, and what people keep there: neither an image nor labels.
OTHER_WORDS = (
    rf"flows?|outlines?|cp{GAP}?outlines?|cp{GAP}?output|dp|cellprob|overlays?|previews?|thumb(?:nail)?s?|"
    rf"(?:{OBJECT}|pixel{GAP})?probabilit(?:y|ies){STAGE}|probs?|uncertainty{STAGE}|features{STAGE}"
)


def _word(words: str) -> re.Pattern[str]:
    """A pattern for whole words: "mask" in "a_mask1", but not in "unmasked"."""
    return re.compile(rf"(?<!{LETTER})(?:{words})(?!{LETTER})")


LABEL, IMAGE, ROLE = _word(LABEL_WORDS), _word(IMAGE_WORDS), _word(f"{LABEL_WORDS}|{IMAGE_WORDS}")
OTHER = re.compile(rf"{GAP}(?:{OTHER_WORDS})(?=$|{GAP})")
SUFFIXES = re.compile(f"(?:{'|'.join(map(re.escape, ('.ome', *known.SUFFIXES)))})+$")
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class Match:
    """Name -> its partner. `doubtful` are the names whose partner was not found by names alone, and `way` says how."""

    partners: dict[str, str]
    way: Way = "names"
    doubtful: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`by their numbers alone: ctrl_1 with treated_1, ctrl_2 with treated_2 ...`; empty without doubt."""
        if not self.doubtful:
            return ""
        shown = ", ".join(f"{name} with {self.partners[name]}" for name in self.doubtful[:EXAMPLES])
        return f"{HOW[self.way]}: {shown}{' ...' if len(self.doubtful) > EXAMPLES else ''}"


def pair_names(names: Sequence[str], others: Sequence[str]) -> Match:
    """Partners among `others`, in the order of `names`. Names without a partner are left out.

    One name and one other always match. Otherwise names are compared as they are, without the words for images and
    labels ("a_img", "a_mask"), and without separators and leading zeros. Names that look the same get no partner.
    Where that leaves one of `others` alone, the rest is matched by what differs within each side ("exp2_t007_raw",
    "cells_t007"), or by numbers ("t007", "man_seg007"), if that finds a partner for all.
    """
    if len(names) == len(others) == 1:
        numbers = {_numbers(names[0]), _numbers(others[0])}
        return Match({names[0]: others[0]}, "alone", () if len(numbers) == 1 or "" in numbers else (names[0],))
    count = len(others)
    names, others = _unique(names), _unique(others)
    sure: dict[str, str] = {}
    for key in (_whole, bare, _joined):
        sure |= _new(sure, _by_key(names, others, key))
    ways: list[tuple[Way, dict[str, str]]] = [
        ("differences", _pairs(_differences(names), _differences(others))),
        ("numbers", _by_key(names, others, _numbers)),
    ]
    for way, found in ways:
        doubtful = _new(sure, found)
        if doubtful and len(sure) + len(doubtful) == count:
            if way == "differences" and not any(re.search(LETTER, _differences(names)[name]) for name in doubtful):
                way = "numbers"
            partners = sure | doubtful
            ordered = {name: partners[name] for name in names if name in partners}
            return Match(ordered, way, tuple(name for name in ordered if name in doubtful))
    return Match({name: sure[name] for name in names if name in sure})


@lru_cache(maxsize=2**16)
def bare(name: str) -> str:
    """A name without case, suffixes and the words for images and labels; separators are all alike."""
    text = ROLE.sub(" ", _lower(CAMEL.sub("_", name)))
    return re.sub(r"[\s_.\-/]+", "_", text).strip("_")


def label_words(name: str) -> frozenset[str]:
    """The words in a name that say that a file holds labels."""
    return frozenset(LABEL.findall(_lower(CAMEL.sub("_", name))))


def is_image_word(name: str) -> bool:
    """Whether a name says that something holds images, and not labels."""
    text = _lower(CAMEL.sub("_", name))
    return bool(IMAGE.search(text)) and not LABEL.search(text)


def holds_labels(folder: str) -> bool:
    """Whether a folder of this name holds labels."""
    return bool(label_words(folder)) or folder.lower() == "y"


def holds_images(folders: Sequence[str]) -> bool:
    """Whether files in such folders, each within the one before, are images."""
    return any(is_image_word(name) or name.lower() == "x" for name in folders) and not any(map(holds_labels, folders))


def without_other(name: str) -> str | None:
    """The bare name of the image that a file such as a_flows or a_overlay was made from; None for other files."""
    text = _lower(name)
    return bare(OTHER.sub("", text)) if OTHER.search(text) else None


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _unique(names: Sequence[str]) -> list[str]:
    counts = Counter(names)
    return [name for name in names if counts[name] == 1]


def _lower(name: str) -> str:
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return SUFFIXES.sub("", text.strip()).strip()


def _whole(name: str) -> str:
    return re.sub(r"\s+", " ", _lower(name))


def _joined(name: str) -> str:
    return "".join(_tokens(name))


def _numbers(name: str) -> str:
    return "-".join(str(int(digits)) for digits in re.findall(r"\d+", unicodedata.normalize("NFC", name)))


def _tokens(name: str) -> list[str]:
    """The words and numbers of a bare name. Each number begins with a mark, so that 1 and 2 do not become 12."""
    found = re.findall(rf"{LETTER}+|\d+", bare(name))
    return [f"#{int(token)}" if token.isdecimal() else token for token in found]


def _differences(names: Sequence[str]) -> dict[str, str]:
    """Each name without the words and numbers that begin, and those that end, all names."""
    tokens = [_tokens(name) for name in names]
    if len(names) < 2:
        return {name: "" for name in names}
    first = _shared(tokens)
    rest = [one[first:] for one in tokens]
    last = _shared([one[::-1] for one in rest])
    return {name: "".join(one[: len(one) - last]) for name, one in zip(names, rest, strict=True)}


def _shared(lists: Sequence[Sequence[str]]) -> int:
    """How many first elements all lists have in common."""
    count = 0
    for column in zip(*lists, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def _by_key(names: Sequence[str], others: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    return _pairs({name: key(name) for name in names}, {other: key(other) for other in others})


def _pairs(keys: dict[str, str], other_keys: dict[str, str]) -> dict[str, str]:
    """Names and others whose keys are the same; a key that is empty or occurs twice on one side pairs nothing."""
    counts, other_counts = Counter(keys.values()), Counter(other_keys.values())
    by_key = {key: other for other, key in other_keys.items() if other_counts[key] == 1}
    return {name: by_key[key] for name, key in keys.items() if key and counts[key] == 1 and key in by_key}


def _new(sure: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    """What was found of names and others that have no partner yet."""
    taken = set(sure.values())
    return {name: other for name, other in found.items() if name not in sure and other not in taken}
