"""The files that a command is going to write: its own alone, for as long as it works."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from contractile.errors import AlreadyThere, ContractileError, InUse
from contractile.storage.files import Group, gathering, retired_name, sweep, telling, temporary_name
from contractile.storage.folders import GATE, WAIT_S
from contractile.storage.locks import LOCKS, OPEN_MOVES, SAFELY, is_free, let_go, lock, open_to_lock, sole
from contractile.storage.manifest import check_replaceable
from contractile.storage.records import digest_folder

CLAIM = re.compile(r"\.contractile-[0-9a-f]{16}\.names")
LARGEST = 2**26  # bytes of a claim that are read
WINDOWS_NAME = 255  # units of UTF-16 in the name of a file

Mark = tuple[int, int, int] | str | None  # of a file's content, as far as its folder knows; None where there is none


class Claim:
    """Files and folders that this process alone may write; `by` is the command that writes them."""

    def __init__(self, files: Sequence[Path], by: str, overwrite: bool) -> None:
        self.by, self._overwrite = by, overwrite
        self._marks = {path: _mark(path) for path in files}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let the files that this thread writes in the block appear at its end, or on an error none of them.

        Those beyond a hundred appear in parts. Raises AlreadyThere for a file that somebody changed since the claim
        was made.
        """
        with gathering(Group(self.by, self._check, self._update)):
            yield

    def _check(self, path: Path) -> None:
        if not self._overwrite and _mark(path) != self._marks.get(path, _mark(path)):
            raise AlreadyThere("the file was changed while it was to be replaced", "move it away", where=path)

    def _update(self, path: Path) -> None:
        self._marks[path] = _mark(path)


@contextmanager
def claimed(
    files: Iterable[Path],
    *,
    by: str,
    inputs: Iterable[Path] = (),
    held: Iterable[Path] = (),
    overwrite: bool = False,
    folders: Iterable[Path] = (),
    within: Iterable[Path] = (),
) -> Iterator[Claim]:
    """Claim the `files` that the command `by` is going to write from `inputs`, while the block runs.

    `folders` are those of the `files` that are going to be folders (Zarr). `held` are further names that no other
    process may claim meanwhile. Folders around results are made; those that stay empty are removed in the end. Without
    `overwrite` only files that the same command wrote, and that are as it wrote them, may be replaced. Inputs are never
    replaced, and results do not lie in them, but for those `within` which they may lie.
    Raises AlreadyThere for files that must not be replaced, ContractileError for an input among them, for two files
    that are one, and for names that are too long, InUse where another process has claimed one of them, NotWritable for
    a folder that cannot be written.
    """
    files, zarrs = list(dict.fromkeys(files)), frozenset(folders)
    check_lengths(files, folders=zarrs)
    _check_apart(files, inputs, {path.resolve() for path in within})
    before = {path: _mark(path) for path in files}
    check_replaceable(files, overwrite=overwrite, by=by, folders=zarrs)
    names_in: dict[Path, dict[str, Path]] = {}
    for path in [*files, *held]:
        names_in.setdefault(path.parent, {}).setdefault(path.name, path)
    with ExitStack() as stack:
        for folder in names_in:
            stack.enter_context(_made(folder))
            sweep(folder)
            _check_distinct([path for path in files if path.parent == folder])
        for folder, names in sorted(names_in.items()):  # all processes in one order
            stack.enter_context(_held(folder, names))
        written = [path for path in files if _mark(path) != before[path]]  # by a process that ended meanwhile
        check_replaceable(written, overwrite=overwrite, by=by, folders=zarrs)
        yield Claim(files, by, overwrite)


def check_lengths(paths: Iterable[Path], *, folders: Collection[Path] = ()) -> None:
    """Raise ContractileError where a name is longer than its file system allows, here or while the work goes on.

    `folders` are those of the paths that are going to be folders: one that is replaced has a longer name meanwhile.
    """
    most: dict[Path, int] = {}
    for path in paths:
        if path.parent not in most:
            most[path.parent] = _longest_name(path.parent)
        names = [path.name, temporary_name(path).name, *([retired_name(path).name] if path in folders else [])]
        length = max(map(_length, names)) if most[path.parent] else 0
        if length > most[path.parent]:
            problem = f"the names of files may have {most[path.parent]} bytes in this folder, got {length}"
            problem += f" ({_length(path.name)} when it is finished)" if length > _length(path.name) else ""
            raise ContractileError(problem, "shorten the name of the image, or that of the result", where=path)


def _length(name: str) -> int:
    return len(os.fsencode(name)) if OPEN_MOVES else len(name.encode("utf-16-le", "surrogatepass")) // 2


def _longest_name(folder: Path) -> int:
    """How long names may be in a folder, which need not be there yet; 0 where nothing is known of that."""
    if not hasattr(os, "pathconf"):
        return 0 if OPEN_MOVES else WINDOWS_NAME
    with suppress(OSError, ValueError):
        there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), folder)
        return max(0, int(os.pathconf(there, "PC_NAME_MAX")))
    return 0


def _check_apart(files: Sequence[Path], inputs: Iterable[Path], within: Collection[Path]) -> None:
    """Raise ContractileError where a file to be written is an input, by whatever name, holds one, or lies in one."""
    there = [path for path in files if os.path.lexists(path)]
    folders = {key: path for path in there if path.is_dir() and (key := _identity(path)) is not None}
    places = {path.parent.resolve() for path in files}
    taken: dict[tuple[int, int], Path] = {}
    for path in inputs:
        key, real = _identity(path), path.resolve()
        if key is None:
            continue
        taken[key] = path
        for around in real.parents if folders else ():
            if result := folders.get(_identity(around) or (0, 0)):
                problem = f"results must not replace what is read, got {result}, which holds {path}"
                raise ContractileError(problem, "choose another place")
        if real not in within and real.is_dir() and any(place.is_relative_to(real) for place in places):
            raise ContractileError(f"results must not lie in the image {path}", "choose another folder")
    for path in there:
        if source := taken.get(_identity(path) or (0, 0)):
            problem = f"results must not replace what is read, got {path}" + (f" = {source}" if source != path else "")
            raise ContractileError(problem, "choose another place")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from others, by whatever name; None where there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _check_distinct(files: Sequence[Path]) -> None:
    """Raise ContractileError where two names are one file in their folder, since case does not count there."""
    seen: dict[str, Path] = {}
    for path in files:
        other = seen.setdefault(_plain(path.name), path)
        if other != path and _ignores_case(path.parent):
            rule = "results must have names of their own, and case does not count in this folder"
            raise ContractileError(f"{rule}, got {other} and {path}", "rename an image, or use two folders")


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _ignores_case(folder: Path) -> bool:
    with suppress(OSError), tempfile.NamedTemporaryFile(prefix=".contractile-a", dir=folder) as file:
        return Path(file.name).with_name(Path(file.name).name.swapcase()).exists()
    return False


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is made where it is not there, and removed again where nothing came into it."""
    absent = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    with telling(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for place in absent:
                place.rmdir()


@contextmanager
def _held(folder: Path, names: dict[str, Path]) -> Iterator[None]:
    """Claim names in a folder. Raises InUse where a process that is alive has claimed one of them."""
    path = folder / f".contractile-{secrets.token_hex(8)}.names"
    with sole(folder / GATE, "starts in this folder", wait_s=WAIT_S):
        taken = {name for other in _claims_in(folder) for name in _claimed_by(other)}
        if both := [path for name, path in names.items() if _plain(name) in taken]:
            cure = "wait until it ends, or choose another folder"
            raise InUse("another process works on this file", cure, where=both[0])
        with telling(path):
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
        with suppress(OSError):
            lock(number)
        try:
            with telling(path), open(number, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as file:
                file.write("\0".join(map(_plain, names)))
        except BaseException:
            let_go(path, number)
            raise
    try:
        yield
    finally:
        let_go(path, number)


def _claims_in(folder: Path) -> list[Path]:
    with telling(folder):
        return [path for path in folder.iterdir() if CLAIM.fullmatch(path.name)]


def _claimed_by(path: Path) -> set[str]:
    """The names that a process that is alive has claimed; the claim of one that is gone is removed."""
    with suppress(OSError):
        number = open_to_lock(path)
        with open(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode) or not LOCKS:
                return set()
            if not is_free(number):
                size = min(os.fstat(number).st_size, LARGEST)
                return set(file.read(size).decode("utf-8", "surrogateescape").split("\0"))
        path.unlink()  # it is closed by now: Windows removes no open file
    return set()


def _mark(path: Path) -> Mark:
    with suppress(OSError):
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            return digest_folder(path)
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
