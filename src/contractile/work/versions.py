"""Client, scheduler and workers must agree about the versions that results and messages depend on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from contractile.errors import ContractileError

WHOLE = ("contractile", "distributed")  # packages of which the whole version must be the same
PARTLY = ("torch", "numpy")  # of these, and of Python, the first two numbers


@cache
def own_versions() -> dict[str, str]:
    """The versions of this process; "" for a package that is not there."""
    found = {name: _installed(name) for name in (*WHOLE, *PARTLY)}
    return _compared(found, sys.version)


def told_versions(told: Mapping[str, Any]) -> dict[str, str]:
    """The versions of one process, from what `Client.get_versions` says about it."""
    return _compared(told["packages"], told["host"]["python"])


def check_versions(expected: Mapping[str, str], found: Mapping[str, str], *, where: str) -> None:
    """Raise ContractileError if the process `where` has other versions than this one, which has the expected."""
    for name, ours in expected.items():
        theirs = found.get(name, "")
        if theirs == ours:
            continue
        got = theirs or "none"
        cure = "use" if name == "python" else "install"
        raise ContractileError(f"{name} must be {ours} as it is here, got {got}", f"{cure} the same there", where=where)


def _compared(packages: Mapping[str, str | None], python: str) -> dict[str, str]:
    whole = {name: (packages.get(name) or "").split("+")[0] for name in WHOLE}
    partly = {name: _first_two(packages.get(name) or "") for name in PARTLY}
    return {"python": _first_two(python), **whole, **partly}


def _first_two(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
