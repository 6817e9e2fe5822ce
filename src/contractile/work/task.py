"""One task: the function and one item, pickled, as a worker receives them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contractile.errors import ContractileError
from contractile.work.threads import settle_threads
from contractile.work.versions import check_versions, own_versions


@dataclass(frozen=True)
class Task:
    """Unpickled by the worker alone: the scheduler needs neither PyTorch nor the modules of the function.

    Workers may join at any time, so each task checks the versions.
    """

    function: bytes
    item: bytes
    versions: Mapping[str, str]

    def __call__(self) -> Any:
        check_versions(self.versions, own_versions(), where=_worker())
        settle_threads()
        try:
            function, item = pickle.loads(self.function), pickle.loads(self.item)
        except (ImportError, AttributeError) as error:
            problem = f"the function cannot be read there: {error}"
            raise ContractileError(problem, "install there what is installed here", where=_worker()) from None
        return function(item)


def _worker() -> str:
    import distributed

    return f"worker {distributed.get_worker().address}"
