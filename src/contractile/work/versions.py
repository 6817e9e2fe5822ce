"""Client, scheduler and workers must agree about the versions that results and messages depend on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from contractile.errors import ContractileError

WHOLE = ("contractile", "distributed")  # packages of which the whole version must be the same
PARTLY = ("torch", "numpy")  # of these, and of Python, the first two numbers


@cache
def own_versions() -> dict[str, str]:
    """What is compared of the versions of this process; "none" for a package that is not there."""
    whole = {name: _installed(name).split("+")[0] for name in WHOLE}  # without a build such as +cu130
    partly = {name: ".".join(_installed(name).split(".")[:2]) for name in PARTLY}
    return {"python": ".".join(map(str, sys.version_info[:2])), **whole, **partly}


def check_versions(expected: Mapping[str, str], found: Mapping[str, str] | Exception, *, where: str) -> None:
    """Raise ContractileError if the process `where` has not the versions that are expected.

    `found` are its `own_versions`, or the error that came of asking for them.
    """
    if isinstance(found, Exception):
        problem = f"contractile must be {expected['contractile']} as it is here, and cannot be loaded ({found})"
        raise ContractileError(problem, "install the same there", where=where)
    for name, ours in expected.items():
        if found[name] != ours:
            cure = "use" if name == "python" else "install"
            raise ContractileError(
                f"{name} must be {ours} as it is here, got {found[name]}", f"{cure} the same there", where=where
            )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
