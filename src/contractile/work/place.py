"""What every place of work offers, and this process as one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from contractile.errors import ContractileError, shown

Item = TypeVar("Item")
Result = TypeVar("Result")


class Work(Protocol):
    """A place where blocks are done."""

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, name: str
    ) -> Iterator[tuple[Item, Result]]:
        """Each item and what the function returns for it.

        Items are taken from their iterable only shortly before they are done. What the function raises is raised here,
        and nothing more is begun. `name` is how the work is called where one can watch it.
        """
        ...


@dataclass(frozen=True)
class Here:
    """Does one item after another in this process, in their order."""

    ahead: int = 0

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, name: str
    ) -> Iterator[tuple[Item, Result]]:
        if self.ahead:
            yield from _ahead(function, items, self.ahead)
            return
        for item in items:
            yield item, function(item)


def here(*, ahead: int = 0) -> Here:
    """This process. An item is begun when the caller asks for it, but `ahead` items earlier: then a thread does them.

    Raises ContractileError if `ahead` is negative.
    """
    if not isinstance(ahead, int) or ahead < 0:
        raise ContractileError(f"ahead must be a whole number of at least 0, got {shown(ahead)}", "use e.g. 1")
    return Here(ahead)


def _ahead(function: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[tuple[Item, Result]]:
    """An item that was begun is ended before this generator is, so that nothing is written behind the caller's back."""
    rest = iter(items)
    begun: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(1, "contractile")
    try:
        while True:
            for item in islice(rest, ahead + 1 - len(begun)):
                begun.append((item, pool.submit(function, item)))
            if not begun:
                return
            item, future = begun.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
