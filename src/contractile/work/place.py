"""What every place of work offers, and this process as one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
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
    """Does items in this process; results come in the order of the items.

    Close what `each` gives where an error may end its use: else Python does so at any time, in any thread.
    """

    ahead: int = 0
    threads: int = 1

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, name: str
    ) -> Generator[tuple[Item, Result], None, None]:
        if self.ahead or self.threads > 1:
            yield from _ahead(function, items, max(self.ahead, self.threads - 1), self.threads)
            return
        for item in items:
            yield item, function(item)


def here(*, ahead: int = 0, threads: int = 1) -> Here:
    """This process. An item is begun when the caller asks for it, but `ahead` items earlier: then a thread does them.

    More `threads` do as many at a time. Raises ContractileError if `ahead` is negative, or `threads` below 1.
    """
    for name, value, least in (("ahead", ahead, 0), ("threads", threads, 1)):
        if not isinstance(value, int) or value < least:
            raise ContractileError(
                f"{name} must be a whole number of at least {least}, got {shown(value)}", "use e.g. 1"
            )
    return Here(ahead, threads)


def _ahead(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """An item that was begun is ended before this generator is, so that nothing is written behind the caller's back."""
    rest = iter(items)
    begun: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, "contractile")
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
