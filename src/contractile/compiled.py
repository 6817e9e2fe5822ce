"""The only room that imports numba: it compiles sequential loops to machine code, cached on disk between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function, **options: Any) -> Function:
    """Compile `function` at its first call and cache the result on disk; it runs without the interpreter lock.

    `options` are those of `numba.njit`, such as fastmath. Where no cache folder can be written (a read-only
    installation without a home folder), each process compiles anew.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast(Function, numba.njit(nogil=True, **options)(function))
