"""What the package asks of the whole process."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from contractile.process import apart, keep_freed_memory, place_caches, prepare_process

NAMES = ("OMP_WAIT_POLICY", "XDG_CACHE_HOME", "MPLCONFIGDIR")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    """The variables as they were, and a folder for temporary files."""
    for name in NAMES:
        monkeypatch.setenv(name, "x")  # so that the value of before is put back whatever a test does
        monkeypatch.delenv(name)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder and without an entry in the list of users."""

    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", refuse)


def own_folder(tmp_path):
    return tmp_path / "tmp" / f"contractile-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def test_threads_wait_without_spinning_unless_told_otherwise(monkeypatch):
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    keep_freed_memory(False)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_can_be_kept_or_not():
    assert keep_freed_memory() is True
    assert keep_freed_memory(False) is True


def test_an_allocator_that_cannot_be_told(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False


def test_systems_without_glibc_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_caches_are_in_the_home_folder(tmp_path):
    assert place_caches() == tmp_path / ".cache"
    assert not {"XDG_CACHE_HOME", "MPLCONFIGDIR"} & set(os.environ)


def test_caches_are_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert place_caches() == tmp_path / "mine"
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "mine")
    assert not (tmp_path / ".cache").exists()


@pytest.mark.parametrize("named", ["", "relative/folder"])
def test_a_folder_for_caches_must_be_a_whole_path(monkeypatch, tmp_path, named):
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert place_caches() == tmp_path / ".cache"
    assert "XDG_CACHE_HOME" not in os.environ


def test_a_folder_for_caches_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert place_caches() == tmp_path / ".cache"
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / ".cache")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_caches_are_temporary_files(tmp_path):
    folder = own_folder(tmp_path)
    assert place_caches() == folder
    assert os.environ["XDG_CACHE_HOME"] == str(folder)
    assert os.environ["MPLCONFIGDIR"] == str(folder / "matplotlib")
    assert folder.stat().st_mode & 0o777 == 0o700 or os.name != "posix"
    assert place_caches() == folder  # the next process finds it again


@pytest.mark.parametrize("home", ["missing", "file"])
def test_a_home_folder_that_is_none(monkeypatch, tmp_path, home):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    assert place_caches() == own_folder(tmp_path)
    assert not (tmp_path / "missing").exists()


def test_a_home_folder_that_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / ".cache").touch()  # permissions do not bind every user; a file in the way does
    assert place_caches() == own_folder(tmp_path)


@pytest.mark.usefixtures("homeless")
@pytest.mark.skipif(os.name != "posix", reason="elsewhere the folder of temporary files belongs to one user")
@pytest.mark.parametrize("kind", ["writable by all", "link", "file"])
def test_a_temporary_folder_that_others_can_write_to_is_not_used(tmp_path, kind):
    folder = own_folder(tmp_path)
    if kind == "link":
        folder.symlink_to(tmp_path)
    elif kind == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert place_caches() is None
    assert "XDG_CACHE_HOME" not in os.environ


@pytest.mark.usefixtures("homeless")
def test_no_place_for_caches_at_all(monkeypatch):
    def refuse():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    assert place_caches() is None


@pytest.mark.skipif(os.name != "posix", reason="the home folder of other systems is found in other ways")
def test_compiled_loops_and_figures_without_a_home_folder(tmp_path):
    """A read-only installation of a user without a home folder, as in a container."""
    script = """
from pathlib import Path
def refuse(): raise RuntimeError("Could not determine home directory.")
Path.home = refuse
from contractile.process import prepare_process
prepare_process()
import numba.core.caching as caching
caching.CacheImpl._locator_classes.remove(caching.InTreeCacheLocator)
import numpy as np
from contractile.metrics.contingency import tabulate
assert tabulate(np.ones((2, 2), int), np.ones((2, 2), int)).total == 4
import matplotlib
print(matplotlib.get_configdir())
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", *NAMES)}
    environment |= {"TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(own_folder(tmp_path) / "matplotlib")
    assert any(path.name.startswith("metrics_") for path in (own_folder(tmp_path) / "numba").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]  # and no folder called ~


def test_a_process_apart_hears_no_ctrl_c(monkeypatch):
    assert apart() == {"start_new_session": True}
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    assert apart() == {"creationflags": 0x200}


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from contractile.process import end_with_parent; "
        "end_with_parent(7, before=Path(sys.argv[1]).touch); print('ready', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "before")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.close()  # as when the parent is killed
        assert process.wait(30) == 7
    assert (tmp_path / "before").exists()
