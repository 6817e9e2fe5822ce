"""The tree of exceptions; `contractile.errors` draws it."""

from __future__ import annotations

from functools import partial
from typing import Any


class ContractileError(ValueError):
    """An argument or a file that cannot be used, as three fields; `str()` joins them to one line.

    `problem` names the argument, the rule and the value received. `cure` says what to do. `where` is the file,
    folder or image with the problem; it is empty where `problem` names an argument.
    """

    def __init__(self, problem: str, cure: str, *, where: object = "") -> None:
        self.where, self.problem, self.cure = str(where), problem, cure
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.cure}" if self.where else f"{self.problem}; {self.cure}"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.problem, self.cure, where=self.where), ()

    def at(self, where: object) -> ContractileError:
        """The same error, about the file or image `where`."""
        return type(self)(self.problem, self.cure, where=where)


class WrongType(ContractileError, TypeError):
    """An argument of the wrong type."""


class NotFound(ContractileError, FileNotFoundError):
    """A file or folder that does not exist."""


class AlreadyThere(ContractileError, FileExistsError):
    """A file or run that exists and must not be replaced."""


class InUse(ContractileError, BlockingIOError):
    """A folder that another process writes into."""


class NotWritable(ContractileError, PermissionError):
    """A folder without permission to write."""


class NotFinished(ContractileError, RuntimeError):
    """Work that was started and could not be finished."""


class NotWritten(NotFinished, OSError):
    """Work that could not be finished because a file could not be written."""


class OutOfMemory(NotFinished, MemoryError):
    """Work that could not be finished because memory ran out."""
