"""Settings of the whole process: threads, memory, caches. Only the command line, scripts and benchmarks change them."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Numbers of glibc's M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX -> (default value, once glibc has
# raised its dynamic thresholds; value that keeps freed memory). Each new thread may get an arena of its own, and each
# arena would keep what was freed in it.
MALLOC_OPTIONS = {-1: (2**26, 2**31 - 1), -3: (2**25, 2**25), -4: (65536, 0), -8: (0, 2)}


def prepare_process() -> None:
    """Set up threads, memory and caches of this process. Call it before PyTorch is imported.

    It sets the environment variable OMP_WAIT_POLICY to PASSIVE, unless it is already set. Otherwise PyTorch's threads
    spin while they wait, and a training step takes up to ten times as long when another program needs a core. It also
    lets the C library keep freed memory (see `keep_freed_memory`) and finds a place for caches (see `place_caches`).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    place_caches()


def place_caches() -> Path | None:
    """Find the folder in which libraries keep their caches, such as `~/.cache`; None where there is no place for one.

    Where a user has no home folder, or may not write to it, this is a folder of their own among the temporary files.
    The environment variables by which libraries find it are then set, for this process and its children.
    """
    home, named = _home(), os.environ.get("XDG_CACHE_HOME")
    if named is not None and not os.path.isabs(named):  # the standard says to ignore it, but numba would take it
        del os.environ["XDG_CACHE_HOME"]
        named = None
    usual = [Path(named)] if named else []
    usual += [home / ".cache"] if home else []
    folder = next(filter(_can_write, usual), None) or _temporary_folder()
    if folder is None:
        return None
    if not usual or folder != usual[0]:
        os.environ["XDG_CACHE_HOME"] = str(folder)
    if home is None or not os.access(home, os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))  # it would warn, and make a new one each time
    return folder


def _home() -> Path | None:
    with suppress(RuntimeError):  # a user who is in no list of users
        home = Path.home()
        return home if home.is_dir() else None
    return None


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if it is not there. Permissions alone do not tell."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    return False


def _temporary_folder() -> Path | None:
    """A folder among the temporary files that only this user can write to: caches hold code.

    None where there is no such place, or where somebody else has made a folder of that name.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "cache"
    with suppress(OSError):
        folder = Path(tempfile.gettempdir(), f"contractile-{user}")
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        owned = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
        return folder if stat.S_ISDIR(found.st_mode) and owned and _can_write(folder) else None
    return None


def end_with_parent(status: int, before: Callable[[], None] = lambda: None) -> None:
    """End this process at once when the one that started it closes our standard input, or is killed.

    A thread waits for that. It calls `before` and ends the process with `status`.
    """

    def wait() -> None:
        while os.read(0, 1):  # not of `sys.stdin`, whose lock an orderly end of this process would wait for
            pass
        before()
        os._exit(status)

    threading.Thread(target=wait, name="waits for the parent to end", daemon=True).start()


def apart() -> dict[str, Any]:
    """What `subprocess.Popen` needs to hear so that Ctrl-C reaches this process alone, which ends the other one."""
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library reuse freed memory instead of returning it to the system. Returns False where it cannot.

    Otherwise the system provides large tensors anew at every step, page by page, and a training step of the paper's
    network takes a fifth longer. The price is that the process stays as large as it once was. `keep=False` restores the
    default and returns freed memory to the system.
    """
    if sys.platform != "linux":
        return False
    try:
        library = ctypes.CDLL(None)
        told = [library.mallopt(option, value[keep]) for option, value in MALLOC_OPTIONS.items()]
        if not keep:
            library.malloc_trim(0)
    except (OSError, AttributeError):  # a C library other than glibc
        return False
    return all(told)
