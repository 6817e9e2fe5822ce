"""Which label file belongs to which image: by the whole name, the name without words such as mask, or its numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

ROLE = re.compile(
    r"(^|[_\-. ])(images?|imgs?|raw|volume|masks?|labels?|seg|segmentation|gt|truth|groundtruth|annotations?)"
    r"(?=$|[_\-. ]|\d)",
    re.IGNORECASE,
)


def match_names(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Name -> its partner among `others`, in the order of `names`. Names without a partner are left out.

    One name and one other always match. Otherwise names are compared in three ways: whole; without the words for
    images and labels ("a_img", "a_mask"); by their numbers ("t007", "man_seg007"). The first way that finds a partner
    for all of `others` is taken, else the way that finds most. Names that look the same in one way get no partner
    that way.
    """
    if len(names) == len(others) == 1:
        return {names[0]: others[0]}
    best: dict[str, str] = {}
    for key in (str.casefold, _without_role, _numbers):
        partners = _by_key(others, key)
        pairs = {name: partners[k] for k, name in _by_key(names, key).items() if k and k in partners}
        best = max(best, pairs, key=len)
        if len(best) == len(others):
            break
    return best


def _by_key(names: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    counts = Counter(key(name) for name in names)
    return {key(name): name for name in names if counts[key(name)] == 1}


def _without_role(name: str) -> str:
    return ROLE.sub("", name).strip("_-. ").casefold()


def _numbers(name: str) -> str:
    return "-".join(str(int(digits)) for digits in re.findall(r"\d+", name))
