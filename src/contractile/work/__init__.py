"""Where blocks are done: in this process, or by a Dask client; one function for each block.

    with connect("local") as work:                                # or work = here()
        for block, sizes in work.each(Measure(path), blocks, name="network"):
            ...                                                   # with Dask, in the order in which they are finished

The function is pickled and sent to the workers. It holds paths, not models: `once` makes what is costly one time in
each process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contractile.work.kept import forget as forget
from contractile.work.kept import once as once
from contractile.work.place import Work as Work
from contractile.work.place import here as here
from contractile.work.threads import threads_of_a_block as threads_of_a_block

if TYPE_CHECKING:
    from contractile.work.dask_client import DaskWork as DaskWork
    from contractile.work.dask_client import connect as connect


def __getattr__(name: str) -> Any:
    """What needs Dask is loaded when it is first used."""
    if name not in ("DaskWork", "connect"):
        raise AttributeError(f"module 'contractile.work' has no attribute {name!r}")
    from contractile.work import dask_client

    return getattr(dask_client, name)
