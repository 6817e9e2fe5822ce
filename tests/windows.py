"""A system like Windows, as far as this package can see it: what it lacks, and what it refuses.

    python tests/windows.py WORK FOLDER       does one of the functions of `WORKS` there

Modules of the package see an `os`, `signal`, `socket` and `sys` with the names that Windows has, no `fcntl` and no
`resource`, and an `msvcrt` whose locks hold. Open and mapped files are neither removed nor renamed, folders are not
opened, only files that may be written to are flushed, and no file gets a name that Windows refuses. Other libraries
live on the system that is there. It is no Windows: encodings, separators and the console are those of this system.
"""

import ast
import builtins
import contextlib
import errno
import importlib
import json
import os
import pkgutil
import re
import signal
import socket
import sys
import types
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "contractile"
MISSING = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")
OF_OS = """
    F_OK R_OK W_OK X_OK O_RDONLY O_WRONLY O_RDWR O_APPEND O_CREAT O_EXCL O_TRUNC SEEK_SET SEEK_CUR SEEK_END
    P_WAIT P_NOWAIT DirEntry PathLike abort access altsep chdir chmod close closerange cpu_count curdir
    defpath device_encoding devnull dup dup2 environ error extsep fdopen fsdecode fsencode fspath fstat fsync
    ftruncate get_exec_path get_inheritable get_terminal_size getcwd getcwdb getenv getlogin getpid getppid
    isatty kill linesep link listdir lseek lstat makedirs mkdir open pardir path pathsep pipe popen
    process_cpu_count putenv read readlink remove removedirs rename renames replace rmdir scandir sep
    set_inheritable stat stat_result strerror symlink system terminal_size times truncate umask unlink
    unsetenv urandom utime waitpid walk write _exit
"""
OF_SIGNAL = """
    SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN Handlers Signals default_int_handler
    getsignal raise_signal set_wakeup_fd signal strsignal valid_signals
"""
UNIX_SOCKETS = ("AF_UNIX", "AF_PACKET", "sendmsg", "recvmsg", "send_fds", "recv_fds")
REFUSED_NAME = re.compile(r'[<>:"|?*\x00-\x1f\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
RECIPE = """
steps = 4
validations = 1
device = "cpu"
network = { width = 2, depth = 2, symmetry = "none" }
targets = { task = "objects" }
"""
EXPORTING = ("onnx", "onnxscript", "onnxruntime")  # what the package imports by name, where it exports
O_BINARY = 1 << 30  # a flag that this system does not know: its absence is found, and it is taken away

_far: dict[int, int] = {}  # of open files: a place that is too far for the file systems of this system


def chosen(real: types.ModuleType, names: str, **others: object) -> types.ModuleType:
    """A module with some of the names of a real one, and others."""
    module = types.ModuleType(real.__name__)
    module.__dict__.update({name: getattr(real, name) for name in names.split() if hasattr(real, name)} | others)
    return module


class Sys(types.ModuleType):
    """The real `sys`, but for the name of the system."""

    platform = "win32"

    def __getattr__(self, name: str) -> object:
        return getattr(sys, name)


def held_open() -> set[str]:
    """The files that this process has open or mapped."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found |= {line[line.index("/") :].rstrip("\n") for line in maps if "/" in line}
    return found


def refusing_open(act):
    """A rename or a removal, which is refused where the file, or one in the folder, is open."""

    def attempt(*places, **options):
        library = sys._getframe(1).f_globals.get("__name__", "")
        given = [os.path.realpath(os.path.dirname(os.fspath(place))) for place in places]
        real = [f"{folder}/{os.path.basename(os.fspath(place))}" for folder, place in zip(given, places, strict=True)]
        if library != "tempfile" and "dir_fd" not in options:
            busy = [one for one in held_open() for mine in real if one == mine or one.startswith(f"{mine}/")]
            if busy:
                raise PermissionError(errno.EACCES, f"Windows would refuse it: {busy[0]} is open", str(places[0]))
        return act(*places, **options)

    return attempt


def open_file(path, flags, mode=0o777, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Windows opens no folder", str(path))
    assert flags & O_BINARY, f"{path} is opened as text: Windows changes its line ends"
    return real_open(path, flags & ~O_BINARY, mode, **options)


def fsync(number):
    import fcntl_of_this_system as fcntl

    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise PermissionError(errno.EACCES, "Windows flushes only what may be written to")
    real_fsync(number)


def lseek(number, place, how):
    if how == os.SEEK_SET and place > 2**40:
        _far[number] = place
        return place
    _far.pop(number, None)
    return real_lseek(number, place, how)


def locking(number, mode, size):
    """As `msvcrt.locking`: a lock belongs to whoever opened the file, and ends when it is closed."""
    import fcntl_of_this_system as fcntl

    assert _far.get(number, 0) > 2**40, "a lock within the content of a file keeps others from reading it"
    try:
        fcntl.flock(number, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def refuse_names(folder: Path) -> None:
    """Let no file with a name that Windows refuses come into a folder."""
    watched = {"open": (0,), "os.mkdir": (0,), "os.rename": (0, 1)}

    def look(event, given):
        for place in (given[index] for index in watched.get(event, ())):
            if isinstance(place, str | os.PathLike) and str(place).startswith(str(folder)):
                parts = Path(place).relative_to(folder).parts
                assert not any(map(REFUSED_NAME.search, parts)), f"Windows refuses the name {place}"

    sys.addaudithook(look)


def load_other_libraries() -> None:
    """Import all that the package imports of others, so that it meets the system that is there."""
    names = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    for name in (*sorted(names), *EXPORTING):
        if not name.startswith(("contractile", "msvcrt", "__future__")):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def become_windows() -> None:
    """From now on modules of the package see another system."""
    sys.modules["fcntl_of_this_system"] = sys.modules["fcntl"]
    sys.modules.update(dict.fromkeys(MISSING))
    sys.modules["msvcrt"] = chosen(types.ModuleType("msvcrt"), "", locking=locking, LK_NBLCK=2, LK_UNLCK=0)
    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, refusing_open(getattr(os, name)))
    others = {"name": "nt", "open": open_file, "fsync": fsync, "lseek": lseek, "O_BINARY": O_BINARY}
    inet = " ".join(name for name in dir(socket) if name not in UNIX_SOCKETS)
    seen = {
        "os": chosen(os, OF_OS, **others),
        "signal": chosen(signal, OF_SIGNAL, SIGBREAK=signal.SIGUSR2),
        "socket": chosen(socket, inet),
        "sys": Sys("sys"),
    }
    real_import = builtins.__import__

    def see(name, globals=None, locals=None, fromlist=(), level=0):
        ours = str((globals or {}).get("__name__", "")).partition(".")[0] == "contractile"
        return seen[name] if ours and name in seen else real_import(name, globals, locals, fromlist, level)

    builtins.__import__ = see


def import_all(folder: Path) -> None:
    """Every module of the package can be imported."""
    import contractile

    for found in pkgutil.walk_packages(contractile.__path__, "contractile."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    import contractile.storage.locks as locks

    assert not hasattr(locks.os, "O_NOFOLLOW")
    assert locks._posix is None


def write_and_lock(folder: Path) -> None:
    """Files are whole or not there, one process works at a time, and what a killed one left is removed."""
    from contractile.errors import InUse
    from contractile.storage import claimed, replacing, sole, sweep

    lock = folder / "lock"
    with sole(lock, "works"), contextlib.suppress(InUse), sole(lock, "works", wait_s=0.0):
        raise AssertionError("two hold one lock")
    assert not (folder / "lock").exists()
    results = folder / "results"
    for text in ("first", "second"):
        with claimed([results / "a.txt"], by="test") as claim, claim.together():
            with replacing(results / "a.txt") as temporary:
                temporary.write_text(text)
            with contextlib.suppress(InUse), claimed([results / "a.txt"], by="test"):
                raise AssertionError("two claim one file")
        assert (results / "a.txt").read_text() == text
    left, new = (results / f".contractile-{digit * 16}.part.txt" for digit in "01")
    for path in (left, new):
        path.write_text("x")
    os.utime(left, (0, 0))
    (results / f".contractile-{'2' * 16}.was.b.zarr").mkdir()
    import contractile.storage.files as files

    files._swept.clear()
    sweep(results)
    assert sorted(path.name for path in results.iterdir()) == [new.name, ".contractile.jsonl", "a.txt", "b.zarr"]


def train_and_predict(folder: Path) -> None:
    """A few steps, a prediction of every kind, twice, its scores, and an export, by the command line."""
    import numpy as np
    import tifffile

    rng = np.random.default_rng(0)
    for number in range(4):
        labels = np.zeros((48, 48), np.uint16)
        labels[8 + number : 20, 8:20], labels[25:40, 22 + number : 40] = 1, 2
        image = (100 * (labels > 0) + rng.normal(60, 8, labels.shape)).clip(0, 255).astype(np.uint8)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / kind).mkdir(exist_ok=True)
            tifffile.imwrite(folder / kind / f"{number}.tif", array)
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    images, labels, out = str(folder / "images"), str(folder / "labels"), str(folder / "out")
    train = ["train", images, labels, "--out", str(folder / "run"), "--recipe", str(recipe)]
    kinds = "labels,probabilities,overlay,objects,geojson,coco,ctc" + (",rois" if find_spec("roifile") else "")
    predict = ["predict", str(folder / "run"), images, "--out", out, "--save", kinds]
    assert call(train) == 0
    for _ in range(2):
        assert call(predict) == 0
        assert call([*predict, "--format", "ome-zarr", "--report"]) == 0
        assert call(["evaluate", f"{out}/*_labels.tif", labels, "--json", str(folder / "scores.json")]) == 0
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert call(["check", images, labels]) == 0
    for name in ("0_objects.geojson", "0_coco.json", "images_RES/mask000.tif", "images_RES/res_track.txt"):
        assert (Path(out) / name).is_file(), name
    if all(map(find_spec, EXPORTING)):
        assert call(["export", str(folder / "run"), "--to", "onnx", "--out", str(folder / "m.onnx")]) == 0
        assert (folder / "m.onnx").stat().st_size > 0


def annotate(folder: Path) -> None:
    """What is painted on the local page is there again, and becomes label files."""
    from contractile.viewer.acts import Paint
    from contractile.viewer.session import PageInfo, Session

    pages = [PageInfo(name="a", shape=(120, 150), source="1")]
    for number in (1, 2):
        session = Session(folder / "session", pages, task="objects")
        stroke = Paint(image=0, points=[(20 * number, 30)], radius=2, value="new")
        assert session.act(stroke).number == number
        session.close()
    assert next((folder / "session").rglob("*.tif")).is_file()


def call(words: list[str]) -> int:
    """The status of a command in this process."""
    import contractile.cli

    sys.argv = ["contractile", *words]
    try:
        contractile.cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("a command ends the process")


WORKS = {work.__name__: work for work in (import_all, write_and_lock, train_and_predict, annotate)}
real_open, real_fsync, real_lseek = os.open, os.fsync, os.lseek

if __name__ == "__main__":
    load_other_libraries()
    become_windows()
    refuse_names(Path(sys.argv[2]))
    WORKS[sys.argv[1]](Path(sys.argv[2]))
