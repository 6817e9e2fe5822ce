"""Prediction replaces only its own results, mixes no two runs, and leaves nothing half-written when it is killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import tifffile
from conftest import entries
from kills import all_kills, contents, killed, seen

from contractile.engine import EngineConfig
from contractile.errors import AlreadyThere, ContractileError, InUse, NotWritten
from contractile.images import write_labels
from contractile.model import ModelCard
from contractile.prediction import predict_files
from contractile.prediction.field import Held
from contractile.unet import UNetConfig

EVERYTHING = ("labels", "probabilities", "overlay", "objects")


@dataclass
class Bright:
    """A model without a network: what is brighter than `threshold` is inside an object."""

    threshold: int = 100
    during: object = None  # is called with each image
    placed: bool = True
    engine: EngineConfig = field(default_factory=EngineConfig)
    diameter: float | None = None

    @property
    def card(self):
        return ModelCard(network=UNetConfig(), task="objects")

    @property
    def fingerprint(self):
        return f"above {self.threshold}"

    def probabilities(self, image, *, tta, progress, curve=None):
        if self.during is not None:
            self.during(image)
        inside = (np.asarray(image)[0] > self.threshold).astype(np.float32)
        return Held(np.stack([1 - inside, inside]))


@pytest.fixture
def folder(tmp_path):
    """Two images and a stack of three."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate("ab"):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", pixels(number))
    stack = np.stack([pixels(number) for number in range(3)])
    tifffile.imwrite(tmp_path / "in" / "c.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    return tmp_path / "in"


def pixels(seed):
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(0, 200, (4, 5), np.uint8), 6, 0), 6, 1)


def predict(images, out, *, model=None, products=EVERYTHING, **options):
    return list(predict_files(model or Bright(), images, out=out, products=products, **options))


# whose files


@pytest.mark.parametrize(
    "name", ["a_labels.tif", "a_probabilities.tif", "a_overlay.png", "a_objects.csv", "c_0001_overlay.png"]
)
def test_results_that_were_changed_since_are_kept(folder, name):
    out = folder.parent / "out"
    for _ in range(2):
        predict(folder, out)
    before = contents(out)
    with (out / name).open("ab") as file:
        file.write(b"mine")
    with pytest.raises(AlreadyThere, match=rf"or that have changed since, got {out / name}; choose another place"):
        predict(folder, out)
    assert contents(out) == before | {name: before[name] + b"mine"}
    predict(folder, out, overwrite=True)
    assert contents(out) == before
    predict(folder, out)


def test_labels_corrected_in_a_program_that_keeps_our_tag(folder):
    out = folder.parent / "out"
    predict(folder / "a.tif", out)
    path = out / "a_labels.tif"
    values = tifffile.imread(path) * 0
    write_labels(path, values)  # the tag is ours, the command is not
    with pytest.raises(AlreadyThere, match=f"got {path};"):
        predict(folder / "a.tif", out)
    np.testing.assert_array_equal(tifffile.imread(path), values)


def test_files_from_elsewhere_are_refused_before_any_work(folder):
    out = folder.parent / "out"
    out.mkdir()
    (out / "b_labels.tif").symlink_to("nowhere")
    (out / "c_objects.csv").write_text("id,area_px\n")
    work = Bright(during=lambda _: pytest.fail("an image was predicted"))
    with pytest.raises(AlreadyThere, match=r"got .*b_labels.tif, .*c_objects.csv;"):
        predict(folder, out, model=work)
    (out / "c_objects.csv").unlink()
    (out / "b_labels.tif").unlink()
    (out / "a_overlay.png").mkdir()
    for overwrite in (False, True):
        with pytest.raises(AlreadyThere, match=r"a_overlay.png: a file must be written here, and there is a folder"):
            predict(folder, out, model=work, overwrite=overwrite)
    assert [path.name for path in entries(out)] == ["a_overlay.png"]


def test_labels_beside_the_images_are_not_replaced(folder):
    """They are left out of the images, and they are nobody's result: only --overwrite replaces them."""
    (folder.parent / "link").symlink_to(folder)
    for name in ("a_labels.tif", "b_labels.tif"):
        tifffile.imwrite(folder / name, pixels(5))
    for out in (folder, folder.parent / "link"):
        with pytest.raises(AlreadyThere, match=rf"got {out / 'a_labels.tif'}, {out / 'b_labels.tif'}; choose another"):
            predict(folder, out)
    np.testing.assert_array_equal(tifffile.imread(folder / "a_labels.tif"), pixels(5))


def test_earlier_results_are_no_images_through_a_link_either(folder):
    (folder.parent / "link").symlink_to(folder)
    for out in (folder.parent / "link", folder, folder.parent / "link"):
        assert len(predict(folder, out)) == 3
    with pytest.raises(ContractileError, match="results must not lie in the image"):
        predict(make_zarr(folder.parent / "z.zarr"), folder.parent / "z.zarr" / "out")


def make_zarr(path):
    import zarr

    zarr.save_array(str(path), pixels(0), zarr_format=2)
    return path


def test_a_result_that_is_corrected_while_others_are_predicted(folder):
    out = folder.parent / "out"
    predict(folder, out, products=("labels",))
    done = []

    def correct(image):
        done.append(image)
        if len(done) == 1:
            (out / "b_labels.tif").write_bytes(b"corrected")

    with pytest.raises(AlreadyThere, match=r"b_labels.tif: the file was changed while it was to be replaced"):
        predict(folder, out, products=("labels",), model=Bright(during=correct))
    assert (out / "b_labels.tif").read_bytes() == b"corrected"


# two at once


def test_two_predictions_of_one_image(folder):
    out = folder.parent / "out"

    def second(image):
        if len(seen(out)) == 0:
            with pytest.raises(InUse, match=r"/[ab]_\w+.csv: another process works on this file; wait until it"):
                predict([folder / "b.tif", folder / "a.tif"], out, products=("objects",), model=Bright(50))
            predict(folder / "c.tif", out)  # others go on side by side

    predict([folder / "a.tif", folder / "b.tif"], out, model=Bright(during=second))
    apart = folder.parent / "apart"
    predict(folder, apart)
    assert contents(out) == contents(apart)


def test_many_processes_of_one_folder_mix_nothing(folder):
    """Each image has the results of one model, whoever came first."""
    out = folder.parent / "out"
    barrier, refused = threading.Barrier(4), []

    def work(threshold):
        barrier.wait()
        try:
            predict(folder, out, model=Bright(threshold, during=lambda _: time.sleep(0.02)))
        except InUse:
            refused.append(threshold)

    threads = [threading.Thread(target=work, args=(threshold,)) for threshold in (20, 60, 100, 140)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    (threshold,) = {20, 60, 100, 140} - set(refused)
    predict(folder, folder.parent / "apart", model=Bright(threshold))
    assert contents(out) == contents(folder.parent / "apart")


# killed


def test_killed_at_any_rename_and_run_again(folder):
    whole = folder.parent / "whole"
    predict(folder, whole)
    whole = contents(whole)
    for number, when in all_kills():
        out = folder.parent / f"{number}{when}"
        if not killed(lambda out=out: predict(folder, out), number, when):
            break
        assert seen(out).items() <= whole.items()
        if when != "after":
            assert len(seen(out)) == number - 1
        predict(folder, out)
        assert contents(out) == whole
    assert number == len(whole) + 1 == 15


def test_results_of_an_image_appear_together(folder, monkeypatch):
    """They are renamed in one go, after all of them were written."""
    done, real = [], os.replace

    def replace(source, target):
        done.append((os.path.basename(target), len(list(folder.parent.joinpath("out").glob(".*.part.*")))))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    predict(folder / "a.tif", folder.parent / "out")
    assert sorted(done, key=lambda pair: -pair[1]) == done
    assert [count for _, count in done] == [4, 3, 2, 1]


CALL = """
import sys
sys.path.insert(0, {tests!r})
from test_prediction_kept import Bright, predict
import time
from contractile import cli, prediction
import contractile.model, contractile.prediction
contractile.model.load = contractile.model.combine = lambda path: None
def during(image):
    print("ready", flush=True)
    time.sleep(60)
contractile.prediction.Predictor = lambda *_, **__: Bright(during=during)
sys.argv = ["contractile", "predict", "nuclei", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_prediction_with_one_line(folder, name, status):
    out = folder.parent / "out"
    call = CALL.format(tests=os.path.dirname(__file__))
    with subprocess.Popen(
        [sys.executable, "-c", call, str(folder), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        told = process.communicate()[1]
    assert (process.returncode, told.splitlines()[-1]) == (status, "contractile: stopped")
    assert "Traceback" not in told
    assert not out.exists()


# the disk


@pytest.mark.parametrize("call", ["write", "replace", "fsync", "open"])
def test_a_disk_that_refuses_is_one_error(folder, monkeypatch, call):
    out = folder.parent / "out"
    real = getattr(os, call)
    with monkeypatch.context() as patched:

        def refuse(*words, **options):
            if call == "open" and ".part" not in str(words[0]):
                return real(*words, **options)
            raise OSError(28, "No space left on device")

        patched.setattr(os, call, refuse)
        with pytest.raises(NotWritten, match=r"cannot be written \(No space left on device\); choose a folder"):
            predict(folder, out)
    assert not seen(out)
    assert {path.name[:13] for path in entries(out)} <= {".contractile-"} if out.exists() else True
    predict(folder, out)
    assert len(contents(out)) == 14


def test_a_small_disk(folder, small_disk):
    tifffile.imwrite(folder / "b.tif", np.random.default_rng(0).integers(0, 200, (700, 700), np.uint8))
    out = small_disk / "out"
    with pytest.raises(NotWritten, match=r"b_\w+.(tif|png|csv): cannot be written \(No space left on device\)"):
        predict(folder, out)
    assert {name[0] for name in contents(out)} == {"a"}
    assert len(contents(out)) == 4


def test_a_folder_that_vanishes(folder):
    out, done = folder.parent / "out", []

    def lose(image):
        done.append(image)
        if len(done) == 3:
            while len(seen(out)) < 8:  # those of a and b
                time.sleep(0.01)
            shutil.rmtree(out)

    predict(folder, out, model=Bright(during=lose))  # it is made again
    assert {name[0] for name in seen(out)} == {"c"}
    assert len(entries(out)) == 6
