"""Requests that change something -> actions of the session. What a request holds is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from contractile.errors import ContractileError, nearest, shown

if TYPE_CHECKING:
    from contractile.viewer.acts import Action

PLAIN = ("paint", "fill", "flood", "merge", "split", "delete", "background")
ACCEPTING = ("accept", "accept_all")
KINDS = (*PLAIN, *ACCEPTING)
MOST_POINTS = 20_000  # of a stroke
FARTHEST = 2**30  # pixels: no coordinate of an image lies beyond
MOST_FIELDS = 12
RESEND = "reload the page, which sends it in the right form"


def parse(body: bytes) -> dict[str, Any]:
    """The fields of a request. Raises ContractileError for what is no JSON object of plain, finite values."""
    try:
        found = json.loads(body.decode("utf-8") or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits and nested lists, too
        problem = error.problem if isinstance(error, ContractileError) else "a request must be JSON"
        raise ContractileError(problem, RESEND) from None
    if not isinstance(found, dict) or len(found) > MOST_FIELDS:
        raise ContractileError(
            f"a request must be an object of at most {MOST_FIELDS} fields, got {shown(found)}", RESEND
        )
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ContractileError(f"numbers must be finite, got {text}", RESEND)


def kind_of(fields: Mapping[str, Any]) -> str:
    """The kind of a stroke. Raises ContractileError for one that is not known."""
    kind = fields.get("kind")
    if kind in KINDS and isinstance(kind, str):
        return kind
    match = nearest(kind, KINDS) if isinstance(kind, str) else None
    problem = f"kind must be one of {', '.join(KINDS)}, got {shown(kind)}"
    raise ContractileError(problem, f"write {match}" if match else RESEND)


def action_of(fields: Mapping[str, Any]) -> Action:
    """The action of a stroke. Raises ContractileError, naming the field, for what no stroke can hold.

    JSON tells numbers from texts and from true and false, so none is taken for another.
    """
    from contractile.viewer.acts import read_action

    for name, value in fields.items():
        if name == "kind" or (name == "value" and value == "new"):
            continue
        if name == "over":
            if not isinstance(value, bool):
                raise ContractileError(f"over must be true or false, got {shown(value)}", RESEND)
            continue
        _check_numbers(name, value)
    try:
        return read_action(fields)
    except ContractileError as error:
        raise ContractileError(error.problem.removeprefix(f"{fields['kind']}."), error.cure) from None


def _check_numbers(name: str, value: Any) -> None:
    """Raise ContractileError where a list is too long, or holds anything but numbers that an image can have."""
    items = value if isinstance(value, list) else [value]
    if len(items) > MOST_POINTS:
        problem = f"{name} must hold at most {MOST_POINTS:,} points, got {len(items):,}"
        raise ContractileError(problem, "draw it in several strokes")
    for item in items:
        for one in item[:3] if isinstance(item, list) else [item]:
            if not _is_place(one):
                problem = f"{name} must be finite numbers up to {FARTHEST:,}, got {shown(one)}"
                raise ContractileError(problem, RESEND)


def whole(fields: Mapping[str, Any], name: str, *, least: int = 0, most: int = FARTHEST) -> int:
    """A whole number of a request. Raises ContractileError for anything else, true and false included."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ContractileError(f"{name} must be a whole number from {least:,} to {most:,}, got {shown(value)}", RESEND)


def number(fields: Mapping[str, Any], name: str, *, least: float, most: float) -> float:
    """A number of a request. Raises ContractileError for anything else."""
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise ContractileError(f"{name} must be a number from {least:,} to {most:,}, got {shown(value)}", RESEND)


def point_of(fields: Mapping[str, Any]) -> tuple[int, int]:
    """The pixel of a request: [y, x]. Raises ContractileError for anything else."""
    place = fields.get("point")
    if isinstance(place, list) and len(place) == 2 and all(map(_is_place, place)):
        return math.floor(place[0] + 0.5), math.floor(place[1] + 0.5)
    raise ContractileError(f"point must be [y, x], got {shown(place)}", RESEND)


def region_of(fields: Mapping[str, Any], shape: tuple[int, int]) -> tuple[slice, slice]:
    """The region [y0, y1, x0, x1] of a request, cut at the border. Raises ContractileError where it holds no pixel."""
    corners = fields.get("region")
    if isinstance(corners, list) and len(corners) == 4 and all(map(_is_place, corners)):
        y0, y1, x0, x1 = (math.floor(place) for place in corners)
        region = slice(max(y0, 0), min(y1, shape[0])), slice(max(x0, 0), min(x1, shape[1]))
        if all(part.start < part.stop for part in region):
            return region
    problem = (
        f"region must be [y0, y1, x0, x1] within the image of {shape[0]} x {shape[1]} pixels, got {shown(corners)}"
    )
    raise ContractileError(problem, RESEND)


def _is_place(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FARTHEST


def words_of(fields: Mapping[str, Any], name: str, *, most: int = 16) -> list[str]:
    """A list of texts. Raises ContractileError for anything else."""
    value = fields.get(name)
    if isinstance(value, list) and len(value) <= most and all(isinstance(one, str) for one in value):
        return value
    raise ContractileError(f"{name} must be a list of at most {most} texts, got {shown(value)}", RESEND)
