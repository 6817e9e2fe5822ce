"""The command line: wrong input gets one line and status 2, and leaves nothing behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

import contractile.evaluation
import contractile.training  # noqa: F401
from contractile import cli
from contractile.model import Model, ModelCard, save
from contractile.unet import UNet, UNetConfig

TINY = """
steps = 4
validations = 1
device = "cpu"
[network]
width = 8
depth = 2
[samples]
tile = [32, 32]
core = [32, 32]
batch = 2
"""


def call(capsys, *words):
    """(exit status, standard output, standard error) of the command line."""
    argv, sys.argv = sys.argv, ["contractile", *map(str, words)]
    status = 0
    try:
        cli.main()
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.argv = argv
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *words, status=2):
    """The one line that a wrong call gets."""
    code, _, err = call(capsys, *words)
    lines = [line for line in err.splitlines() if line.startswith("contractile: ")]
    assert code == status
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        labels = np.zeros((40, 48), np.uint8)
        labels[8:30, 5 + 3 * number : 30] = 255
        pixels = (labels * 0.5 + rng.normal(60, 8, labels.shape)).astype(np.uint8)
        for kind, array in (("images", pixels), ("labels", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / f"{number}.tif", array)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def test_the_whole_journey(data, capsys):
    run, out = data / "run", data / "out"
    status, text, told = call(
        capsys, "train", data / "images", data / "labels", "--out", run, "--recipe", data / "tiny.toml"
    )
    assert status == 0
    assert told.count("data: 3 image(s) of 40 x 48 pixels") == 1
    assert told.count("recipe default for 4 steps on cpu") == 1
    assert "iou" in text
    assert (run / "report.html").is_file()
    status, _, _ = call(capsys, "predict", run, data / "images", "--out", out, "--save", "labels,probabilities,overlay")
    assert status == 0
    assert (out / "0_labels.tif").is_file()
    assert (out / "2_overlay.png").is_file()
    for predicted in (f"{out}/*_labels.tif", f"{out}/*_probabilities.tif"):
        status, text, _ = call(
            capsys, "evaluate", predicted, data / "labels", "--scores", "overlap", "--json", data / "s.json"
        )
        assert status == 0
        assert json.loads((data / "s.json").read_text())["iou"] >= 0
    status, text, _ = call(capsys, "info", run)
    assert "classes" in text
    status, text, _ = call(capsys, "info", data / "images")
    assert "40 x 48 pixels, 1 channel(s), uint8" in text


def test_two_predictions_are_compared(data, capsys):
    words = ("evaluate", data / "images", data / "labels", "--against", data / "labels", "--scores", "iou")
    tifffile.imwrite(data / "images" / "0.tif", tifffile.imread(data / "labels" / "0.tif"))
    for number in (1, 2):
        tifffile.imwrite(data / "images" / f"{number}.tif", np.eye(40, 48, dtype=np.uint8) * 255)
    status, text, _ = call(capsys, *words, "--json", data / "c.json")
    assert status == 0
    assert "second" in text
    assert json.loads((data / "c.json").read_text())["differences"]["iou"]["better"] == "second"


def test_help_is_instant_and_imports_no_torch():
    code = (
        "import sys; sys.argv = ['contractile', '--help']\n"
        "from contractile.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_check_finds_and_fixes(data, capsys):
    status, text, _ = call(capsys, "check", data / "images", data / "labels")
    assert status == 0
    tifffile.imwrite(data / "labels" / "0.tif", np.zeros((5, 5), np.uint8))
    status, text, _ = call(capsys, "check", data / "images", data / "labels")
    assert status == 1
    assert "error: " in text


def train_words(data, images="images", labels="labels"):
    return ("train", data / images, data / labels, "--out", data / "run", "--recipe", data / "tiny.toml")


def test_no_pairs(data, capsys):
    (data / "other").mkdir()
    for name in ("x.tif", "y.tif"):
        tifffile.imwrite(data / "other" / name, np.eye(8, dtype=np.uint8))
    assert "no pairs found" in refused(capsys, *train_words(data, labels="other"))
    assert not (data / "run").exists()


def test_different_sizes(data, capsys):
    tifffile.imwrite(data / "labels" / "1.tif", np.eye(8, dtype=np.uint8))
    assert "labels must have the size of their image" in refused(capsys, *train_words(data))
    assert not (data / "run").exists()


def test_an_empty_folder(data, capsys):
    (data / "nothing").mkdir()
    assert "the folder is empty" in refused(capsys, *train_words(data, images="nothing"))


@pytest.mark.parametrize("content", [b"", b"not a tiff at all", "half"])
def test_an_unreadable_tiff(data, capsys, content):
    path = data / "images" / "1.tif"
    path.write_bytes(path.read_bytes()[:700] if content == "half" else content)
    assert "1.tif" in refused(capsys, *train_words(data))
    assert not (data / "run").exists()


def test_labels_of_one_class(data, capsys):
    for path in (data / "labels").iterdir():
        tifffile.imwrite(path, np.zeros((40, 48), np.uint8))
    assert "labels must hold at least two classes" in refused(capsys, *train_words(data))


def test_pixels_that_are_not_numbers(data, capsys):
    pixels = np.ones((40, 48), np.float32)
    pixels[3, 4] = np.nan
    tifffile.imwrite(data / "images" / "1.tif", pixels)
    assert "NaN" in refused(capsys, *train_words(data))
    assert not (data / "run").exists()


def test_an_output_folder_that_cannot_be_written(data, capsys):
    (data / "run").write_text("a file in the way")
    assert "cannot be made" in refused(capsys, *train_words(data))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_without_permission(data, capsys):
    (data / "locked").mkdir(mode=0o500)
    words = list(train_words(data))
    words[4] = data / "locked" / "run"
    assert "cannot be made" in refused(capsys, *words)


def test_a_model_file_that_is_not_one(data, capsys):
    (data / "m.safetensors").write_bytes(b"nonsense")
    line = refused(capsys, "predict", data / "m.safetensors", data / "images", "--out", data / "out")
    assert "cannot be read as safetensors" in line
    assert not (data / "out").exists()


@pytest.fixture
def objects_model(data):
    config = UNetConfig(width=2, depth=1, classes=3)
    save(Model(UNet(config), ModelCard(network=config, task="objects", diameter=12.0)), data / "m.safetensors")
    return data / "m.safetensors"


def test_the_diameter_of_objects(data, objects_model, capsys):
    words = ("predict", objects_model, data / "images", "--out", data / "out", "--diameter")
    assert call(capsys, *words, "24")[0] == 0
    assert call(capsys, *words, "estimate")[0] == 0
    line = "diameter must be a number of pixels or 'estimate', got 'big'; use e.g. 30"
    assert refused(capsys, *words, "big").endswith(line)
    assert "diameter must be a positive number of pixels" in refused(capsys, *words, "-2")


def test_a_picture_as_labels(data, capsys):
    Image.new("RGB", (48, 40), (5, 100, 200)).save(data / "labels" / "1.png")
    (data / "labels" / "1.tif").unlink()
    assert "1.png" in refused(capsys, *train_words(data))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--minutes", "1", "--steps", "3"), "--minutes and --steps exclude each other"),
        (("--val-images", "x"), "--val-images and --val-labels go together"),
        (("--minutes", "-1"), "recipe field minutes"),
        (("--steps", "many"), "valid integer"),
        (("--device", "gpu"), "device must be auto, cpu, cuda or mps"),
    ],
)
def test_options_that_make_no_sense(data, capsys, words, message):
    assert message in refused(capsys, "train", data / "images", data / "labels", "--out", data / "run", *words)
    assert not (data / "run").exists()


def test_axes_that_do_not_exist(data, capsys):
    words = ("evaluate", data / "labels", data / "labels", "--dims", "4")
    assert refused(capsys, *words) == "contractile: dims: Input should be 2 or 3, got 4"


def test_unknown_words(capsys):
    assert "No such command" in refused(capsys, "trian")
    assert "Missing" in refused(capsys, "predict")


def test_fixing_needs_labels(data, capsys):
    assert "--fix corrects annotations" in refused(capsys, "check", data / "images", "--fix", data / "fixed")


def test_unfinished_work_has_status_1(data, capsys, monkeypatch):
    def exhausted(*args, **kwargs):
        raise MemoryError("a batch does not fit")

    monkeypatch.setattr(sys.modules["contractile.evaluation"], "evaluate", exhausted)
    line = refused(capsys, "evaluate", data / "labels", data / "labels", status=1)
    assert "a batch does not fit" in line


def test_ctrl_c_says_how_to_go_on(data, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["contractile.evaluation"], "evaluate", interrupted)
    assert refused(capsys, "evaluate", data / "labels", data / "labels", status=130) == "contractile: stopped"
    monkeypatch.setattr(sys.modules["contractile.training"], "train", interrupted)
    assert "--resume" in refused(capsys, *train_words(data), status=130)
