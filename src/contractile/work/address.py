"""The address of a scheduler: as text, or in the file that a scheduler writes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contractile.errors import ContractileError, NotFound, shown

LOCAL = "local"
CURE = "use local, an address such as tcp://host:8786, or the file that `dask scheduler --scheduler-file` writes"
ADDRESS = re.compile(r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
LOOKS, PAUSE_S = 5, 0.05  # at a file: a scheduler that starts may not have written all of it
SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")


def find_address(scheduler: str | Path) -> str:
    """The address "scheme://host:port" of a scheduler that is given by address or file.

    Raises ContractileError if it does not parse, or NotFound if there is no such file.
    """
    text = os.fspath(scheduler)
    if "://" in text or not (os.sep in text or text.endswith(".json") or os.path.exists(text)):
        return _checked(text)
    for _ in range(LOOKS):
        try:
            content = json.loads(Path(text).read_text(encoding="utf-8"))
            return _checked(content["address"])
        except FileNotFoundError:
            raise NotFound("there is no such file of a scheduler", CURE, where=text) from None
        except (OSError, KeyError, TypeError, ValueError):  # a ContractileError is a ValueError
            time.sleep(PAUSE_S)
    raise ContractileError("must be the file of a scheduler, and names no address", CURE, where=text)


def check_answers(address: str, timeout_s: float) -> None:
    """Raise ContractileError if no scheduler answers at an address in time.

    A client would go on asking where nobody listens, and would wait for ever where somebody listens in silence.
    """
    found = ADDRESS.fullmatch(address)
    assert found is not None
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout_s).close()
        with ThreadPoolExecutor(1) as pool:  # the caller may have an event loop of its own
            kind = pool.submit(asyncio.run, _ask_kind(address, timeout_s)).result()
    except Exception as error:  # whatever else may be there
        raise no_answer(address, error) from None
    if kind != "Scheduler":
        raise ContractileError(f"must be a scheduler, got a {kind}", "give the address of its scheduler", where=address)


async def _ask_kind(address: str, timeout_s: float) -> str:
    import distributed

    arguments = distributed.Security().get_connection_args("client")
    there = distributed.rpc(address, connection_args=arguments, timeout=timeout_s)
    try:
        return str((await asyncio.wait_for(there.identity(), timeout_s))["type"])
    finally:
        await there.close_rpc()


def no_answer(address: str, error: BaseException) -> ContractileError:
    """The error for an address at which no scheduler answers."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ContractileError(
        f"no scheduler answers ({reason})", "start `dask scheduler` there, or use local", where=address
    )


def _checked(text: object) -> str:
    found = ADDRESS.fullmatch(text) if isinstance(text, str) else None
    scheme = (found["scheme"] or "tcp") if found else ""
    if found is None or scheme not in SCHEMES or not 0 < int(found["port"]) < 2**16:
        raise ContractileError(f"scheduler must be local, an address or a file, got {shown(text)}", CURE)
    return f"{scheme}://{found['host']}:{found['port']}"
