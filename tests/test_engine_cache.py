"""Networks kept on disk: nothing of the user is touched, nothing damaged is used, nothing that fails stops the work."""

import importlib.util
import logging
import multiprocessing
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from contractile.engine import EngineConfig, cache, place
from contractile.engine.cache import MARK, MARKER, cache_folder, prune, read_entry, write_entry
from contractile.engine.openvino_backend import OpenVinoBackend
from contractile.errors import ContractileError
from contractile.unet import StoredUNet, UNet, UNetConfig

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra contractile[openvino] is not installed"
)
NAMES = [f"{letter * 64}.{kind}" for letter, kind in (("a", "network"), ("b", "compiled"), ("c", "network"))]


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    """The folder of all caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def folder():
    return cache_folder()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return UNet(UNetConfig(width=4, depth=2)).eval()


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).random((1, 1, 20, 24), np.float32)


@pytest.fixture(scope="module")
def expected(network, batch):
    with torch.no_grad():
        return network.class_scores(torch.from_numpy(batch)).softmax(dim=1).numpy()


def entries(folder):
    return {path for path in folder.iterdir() if path.name != MARKER}


def run(network, batch, precision="float32"):
    return OpenVinoBackend(StoredUNet.of(network), precision=precision)(batch)


def test_the_folder_is_where_the_user_says_or_in_the_home_folder(monkeypatch, tmp_path, root):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert cache_folder() == root / "contractile" / "networks"
    for ignored in ("", "a relative path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / "home" / ".cache" / "contractile" / "networks"


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() is None


def test_a_disk_that_takes_no_file_has_no_cache(monkeypatch):
    def refuse(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert cache_folder() is None


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("in_the_way", ["contractile", "contractile/networks"])
def test_without_a_place_for_it_there_is_no_cache(network, batch, root, backend, in_the_way):
    (root / in_the_way).parent.mkdir(parents=True)
    (root / in_the_way).write_text("a file where the folder should be")
    assert cache_folder() is None
    values = place(network, EngineConfig(device="cpu", backend=backend, precision="float32"))(batch)
    exact = place(network, EngineConfig(device="cpu", backend="torch", precision="float32"))(batch)
    np.testing.assert_allclose(values, exact, atol=1e-5)


def test_the_folder_is_marked_as_a_cache_and_found_again(folder):
    assert (folder / MARKER).read_bytes() == MARK
    assert MARK.startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    write_entry(folder, NAMES[0], b"something")
    assert cache_folder() == folder
    assert read_entry(folder, NAMES[0]) == b"something"


@pytest.mark.parametrize("cut", [0, 1, 50, len(MARK) - 1])
def test_a_mark_that_a_full_disk_cut_short_is_completed(folder, cut):
    (folder / MARKER).write_bytes(MARK[:cut])
    assert cache_folder() == folder
    assert (folder / MARKER).read_bytes() == MARK


@pytest.mark.parametrize(
    "name", ["film.tif", NAMES[0], f"{NAMES[0]}.{'0' * 16}.part", "sub", MARKER, pytest.param("link", id="link")]
)
def test_a_folder_of_the_user_is_left_alone(root, caplog, name):
    caplog.set_level(logging.INFO)
    mine = root / "contractile" / "networks" / name
    mine.parent.mkdir(parents=True)
    if name == "sub":
        mine.mkdir()
    elif name == "link":
        mine = mine.with_name(MARKER)
        mine.symlink_to(root / "contractile")
    else:
        mine.write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n# by another program" + bytes(60))
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    assert cache_folder() is None
    assert "holds files, and was not made by contractile" in caplog.text
    prune(mine.parent, 0)
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_project_around_and_in_the_folder_loses_nothing(monkeypatch, root):
    monkeypatch.setattr(cache, "LARGEST_CACHE", 100)
    project = root / "contractile"
    project.mkdir(parents=True)
    films = [project / name for name in ("film.tif", "notes.network", f"{'a' * 64}.network", "old.blob", "x.xml")]
    inside = cache_folder()
    films += [inside / name for name in ("film.tif", "a.network", f"{'A' * 64}.network", f"{'a' * 64}.network.bak")]
    films += [inside / f"{'a' * 63}.compiled", inside / f"x{'a' * 64}.compiled", inside / f"{'a' * 64}.part"]
    for film in films:
        film.write_bytes(bytes(1000))
        os.utime(film, (1000, 1000))
    (inside / f"{'d' * 64}.network").mkdir()
    (inside / f"{'e' * 64}.network").symlink_to(project / "film.tif")
    for name in NAMES:
        write_entry(inside, name, bytes(60))
    assert all(film.stat().st_size == 1000 for film in films)
    assert (inside / f"{'d' * 64}.network").is_dir()
    assert (inside / f"{'e' * 64}.network").is_symlink()
    assert [read_entry(inside, name) is None for name in NAMES] == [True, True, False]


def test_the_cache_forgets_the_oldest(folder):
    for age, name in enumerate(NAMES):
        write_entry(folder, name, bytes(10))
        os.utime(folder / name, (1000 - age, 1000 - age))
    prune(folder, 3 * 42)
    assert {path.name for path in entries(folder)} == set(NAMES)
    prune(folder, 3 * 42 - 1)
    assert {path.name for path in entries(folder)} == set(NAMES[:2])


def test_what_a_killed_process_left_is_forgotten_after_an_hour(folder):
    now, kept, gone = time.time(), folder / f"{NAMES[0]}.{'0' * 16}.part", folder / f"{NAMES[0]}.{'1' * 16}.part"
    for path, age in ((kept, 3000), (gone, 4000)):
        path.touch()
        os.utime(path, (now - age, now - age))
    prune(folder, 100)
    assert entries(folder) == {kept}


def damages(whole):
    rng = random.Random(0)
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    yield from (b"", b"\xff", whole[:31], whole[:32], whole[: len(whole) // 2], whole[:-1], whole + b"\0", whole[32:])
    yield from (bytes(len(whole)), rng.randbytes(len(whole)))


def test_no_damaged_entry_is_read(folder, caplog):
    caplog.set_level(logging.INFO)
    write_entry(folder, NAMES[0], bytes(range(200)))
    whole = (folder / NAMES[0]).read_bytes()
    for damaged in damages(whole):
        caplog.clear()
        (folder / NAMES[0]).write_bytes(damaged)
        assert read_entry(folder, NAMES[0]) is None
        assert "is damaged, and made again" in caplog.text
    (folder / NAMES[2]).write_bytes(whole)  # a whole one of another network
    assert read_entry(folder, NAMES[2]) is None


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "link to nothing", "huge"])
def test_what_is_no_entry_is_not_read(folder, kind):
    path = folder / NAMES[0]
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no pipes with names")
        os.mkfifo(path)
    elif kind == "link to nothing":
        path.symlink_to("nothing")
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**40)
    assert read_entry(folder, NAMES[0]) is None
    write_entry(folder, NAMES[0], b"new")
    assert read_entry(folder, NAMES[0]) == (None if kind == "folder" else b"new")
    assert not [entry for entry in folder.iterdir() if entry.suffix == ".part"]


def test_a_full_disk_leaves_nothing(folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    real = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:1])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(real(path, mode)) if mode == "xb" else real(path, mode))
    write_entry(folder, NAMES[0], b"something")
    assert not entries(folder)
    assert "a network is not kept: [Errno 28] No space left on device" in caplog.text


def test_a_folder_that_vanishes_only_costs_time(folder):
    (folder / MARKER).unlink()
    folder.rmdir()
    write_entry(folder, NAMES[0], b"something")
    assert read_entry(folder, NAMES[0]) is None
    assert not folder.exists()


def write_often(folder, letter):
    for _ in range(200):
        write_entry(folder, NAMES[0], letter * 50000)


def test_two_processes_that_write_at_once_leave_whole_entries(folder):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=write_often, args=(folder, letter)) for letter in (b"x", b"y")]
    for process in both:
        process.start()
    seen = set()
    while any(process.is_alive() for process in both):
        found = read_entry(folder, NAMES[0])
        seen.add(None if found is None else (found[:1], len(found)))
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert seen <= {None, (b"x", 50000), (b"y", 50000)}
    assert read_entry(folder, NAMES[0]) in (b"x" * 50000, b"y" * 50000)
    assert len(entries(folder)) == 1


@needs_openvino
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_converted_and_compiled_networks_are_kept(monkeypatch, folder, network, batch, precision):
    values = run(network, batch, precision)
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert sorted(path.suffix for path in kept) == [".TAG", ".compiled", ".network"]
    monkeypatch.setattr(torch.export, "export", None)  # must not be called again
    np.testing.assert_array_equal(run(network, batch, precision), values)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == kept
    run(network, np.concatenate([batch, batch]), precision)
    assert len(list(folder.glob("*.compiled"))) == 2  # one for each shape


@needs_openvino
def test_other_weights_are_another_entry(folder, network):
    for one, precision in ((network, "float32"), (network, "bfloat16"), (UNet(network.config).eval(), "float32")):
        OpenVinoBackend(StoredUNet.of(one), precision=precision)
    assert len(list(folder.glob("*.network"))) == 3


def forget_what_needs_no(kind, folder):
    """The converted network is read where its compiled form for a shape is not there."""
    for path in folder.glob("*.compiled") if kind == "network" else ():
        path.unlink()


@needs_openvino
@pytest.mark.parametrize("kind", ["network", "compiled"])
def test_damaged_networks_are_made_again(folder, network, batch, expected, kind):
    values = run(network, batch)
    np.testing.assert_allclose(values, expected, atol=1e-4, rtol=1e-4)
    (path,) = folder.glob(f"*.{kind}")
    whole = path.read_bytes()
    for damaged in list(damages(whole))[::6]:
        path.write_bytes(damaged)
        forget_what_needs_no(kind, folder)
        np.testing.assert_array_equal(run(network, batch), values)
        assert read_entry(folder, path.name) is not None
    path.unlink()
    np.testing.assert_array_equal(run(network, batch), values)


@needs_openvino
@pytest.mark.parametrize("kind", ["network", "compiled"])
@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(1000)])
def test_a_whole_entry_that_openvino_refuses_is_made_again(folder, network, batch, expected, caplog, kind, content):
    caplog.set_level(logging.INFO)
    run(network, batch)
    (path,) = folder.glob(f"*.{kind}")
    write_entry(folder, path.name, content)
    forget_what_needs_no(kind, folder)
    np.testing.assert_allclose(run(network, batch), expected, atol=1e-4, rtol=1e-4)
    assert "cannot be used, and is made again" in caplog.text
    assert read_entry(folder, path.name) != content


@needs_openvino
def test_a_network_that_cannot_be_kept_is_used(monkeypatch, folder, network, batch, expected, caplog):
    def fail(*_arguments, **_options):
        raise RuntimeError("no space left on device")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr("openvino.save_model", fail)
    np.testing.assert_allclose(run(network, batch), expected, atol=1e-4, rtol=1e-4)
    assert [path.suffix for path in entries(folder)] == [".compiled"]
    assert "a network is not kept: no space left on device" in caplog.text


@needs_openvino
def test_compiled_networks_of_many_shapes_do_not_pile_up_in_memory(network):
    backend, sizes = OpenVinoBackend(StoredUNet.of(network), precision="float32"), (64, 32, 16, 60, 56, 16)
    for size in sizes:
        backend(np.zeros((1, 1, size, size), np.float32))
    assert [shape[-1] for shape in backend._compiled] == [60, 56, 16]


@needs_openvino
def test_a_failure_frees_what_was_compiled(network, batch, monkeypatch):
    backend = OpenVinoBackend(StoredUNet.of(network), precision="float32")
    backend(batch)
    monkeypatch.setattr(backend, "_compile", fail_for_want_of_memory)
    with pytest.raises(MemoryError):
        backend(batch[..., :16])
    assert not backend._compiled


def fail_for_want_of_memory(shape):
    raise MemoryError


@needs_openvino
def test_what_is_compiled_for_a_shape_needs_no_converted_network(folder, network, batch, monkeypatch):
    values = run(network, batch)
    monkeypatch.setattr(OpenVinoBackend, "_read_network", lambda _: pytest.fail("it was read"))
    np.testing.assert_array_equal(run(network, batch), values)


@needs_openvino
def test_a_network_that_is_trained_on_is_not_converted_again(folder, batch):
    network = UNet(UNetConfig(width=4, depth=2)).eval()
    run(network, batch)
    backend = OpenVinoBackend(StoredUNet.of(network), precision="float32")
    (kept,) = folder.glob("*.network")
    kept.unlink()
    with torch.no_grad():
        network.head.bias += 1
    backend(batch)
    with pytest.raises(ContractileError, match=r"the network has changed since it was placed, .* lost; place it again"):
        backend(np.concatenate([batch, batch]))
