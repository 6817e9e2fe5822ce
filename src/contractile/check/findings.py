"""Complaints about single files -> findings, one for each kind of complaint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from contractile.check.complaints import COMPLAINTS, LEVELS, MENDED, Level
from contractile.images.names import some


@dataclass(frozen=True)
class Finding:
    """One fault. An `error` stops training, a `warning` makes it worse, a `note` is for information.

    `where` names the file or files. `kind` is the fault in a word or two, of the table `COMPLAINTS`; it is empty for
    what the reader of a file or the pairing complains about.
    """

    level: Level
    where: str
    problem: str
    cure: str
    kind: str = ""


class Spot(NamedTuple):
    """A complaint about one file, and the detail that goes into its text."""

    kind: str
    where: str
    detail: str = ""


def gather(spots: Iterable[Spot]) -> list[Finding]:
    """One finding for each kind of complaint, which names the first files; the worst first."""
    by_kind: dict[str, list[Spot]] = {}
    for spot in spots:
        by_kind.setdefault(spot.kind, []).append(spot)
    return [_describe(kind, by_kind[kind]) for kind in COMPLAINTS if kind in by_kind]


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; each finding once."""
    return sorted(dict.fromkeys(findings), key=lambda finding: LEVELS.index(finding.level))


def list_left(findings: Iterable[Finding]) -> list[str]:
    """The errors among the findings that `check --fix` does not mend, with their files."""
    return [f"{one.where}: {one.problem}" for one in findings if one.level == "error" and one.kind not in MENDED]


def _describe(kind: str, spots: list[Spot]) -> Finding:
    complaint = COMPLAINTS[kind]
    detail = spots[0].detail + (", ..." if len({spot.detail for spot in spots}) > 1 else "")
    places = list(dict.fromkeys(spot.where for spot in spots))
    return Finding(complaint.level, some(places), complaint.problem.format(detail), complaint.cure, kind)
