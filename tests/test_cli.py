"""The command line: every kind of end has its status; a wrong call gets one line and leaves nothing behind."""

import json
import logging
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

from contractile import cli, demo
from contractile.cli.signals import ended_by_signals
from contractile.errors import ContractileError, NotFinished, NotFound, NotWritten, OutOfMemory
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
    assert told.splitlines()[-1].startswith("only 4 step(s) were taken: the network has learned hardly anything; give")
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
    assert refused(capsys, *train_words(data)) == (
        f"contractile: {data / 'run'}: no files can be written into this folder: it is a file; choose a folder "
        "that you may write to"
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_without_permission(data, capsys):
    (data / "locked").mkdir(mode=0o500)
    words = list(train_words(data))
    words[4] = data / "locked" / "run"
    assert "no files can be written into this folder: Permission denied" in refused(capsys, *words, status=1)


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
        (("--folds", "2", "--val-fraction", "0.5"), "--val-fraction and --folds exclude each other"),
        (("--minutes", "-1"), "--minutes must be a number above 0 and up to 525,600, got -1.0; use e.g. 10"),
        (("--steps", "many"), "--steps must be a whole number, got 'many'; give e.g. --steps 500"),
        (("--device", "gpu"), "device must be auto, cpu, cuda or mps"),
    ],
)
def test_options_that_make_no_sense(data, capsys, words, message):
    assert message in refused(capsys, "train", data / "images", data / "labels", "--out", data / "run", *words)
    assert not (data / "run").exists()


def test_a_fraction_beside_folds_of_a_recipe(data, capsys):
    (data / "tiny.toml").write_text(f"folds = 2\n{TINY}")
    words = ("--out", data / "run", "--recipe", data / "tiny.toml", "--val-fraction", "0.5")
    line = refused(capsys, "train", data / "images", data / "labels", *words)
    assert "--val-fraction and folds in the recipe exclude each other: folds hold out each image once; give one" in line


def test_axes_that_do_not_exist(data, capsys):
    words = ("evaluate", data / "labels", data / "labels", "--dims", "4")
    assert refused(capsys, *words) == "contractile: --dims must be 2, or 3 for volumes, got 4; use 2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--engine", "tensorrt"),
            "--engine must be 'auto', 'torch' or 'openvino', got 'tensorrt'; use e.g. 'auto'",
        ),
        (
            ("--precision", "int8"),
            "--precision must be 'auto', 'float32' or 'bfloat16', got 'int8'; use e.g. 'auto'",
        ),
    ],
)
def test_engines_that_do_not_exist(data, objects_model, capsys, words, message):
    line = refused(capsys, "predict", objects_model, data / "images", "--out", data / "out", *words)
    assert line == f"contractile: {message}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--classes", "0,one"),
            "--classes must be a list of whole numbers from -2,147,483,648 to 4,294,967,295, got 'one'; use e.g. 0,1",
        ),
        (
            ("--pixel-size", "wide,1"),
            "--pixel-size must be a list of numbers, got 'wide'; use e.g. 0.5,0.2,0.2",
        ),
        (("--border", "-1"), "--border must be a whole number from 0 to 2,147,483,648, got -1; use e.g. 0"),
    ],
)
def test_scoring_options_that_make_no_sense(data, capsys, words, message):
    assert message in refused(capsys, "evaluate", data / "labels", data / "labels", *words)


def test_unknown_words(capsys):
    assert "No such command" in refused(capsys, "trian")
    assert "Missing" in refused(capsys, "predict")


def test_fixing_needs_labels(data, capsys):
    line = refused(capsys, "check", data / "images", "--fix", data / "fixed")
    assert line.startswith(f"contractile: LABELS are missing, and {data / 'images'} holds none that can be told from ")
    assert line.endswith("; give both: check IMAGES LABELS; or a folder that holds both, such as images and masks")
    assert not (data / "fixed").exists()


def interrupted_by(monkeypatch, error, room="evaluation", verb="evaluate"):
    """Let a function of the library end with `error`."""

    def stop(*args, **kwargs):
        logging.getLogger("contractile.engine.placed").info("three images")
        raise error

    monkeypatch.setattr(f"contractile.{room}.{verb}", stop)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (NotFinished("loss must stay a number", "lower it"), 1, "loss must stay a number; lower it"),
        (
            NotWritten("the disk is full", "free some space", where="a.tif"),
            1,
            "a.tif: the disk is full; free some space",
        ),
        (OutOfMemory("a batch does not fit", "make it smaller"), 1, "a batch does not fit; make it smaller"),
        (MemoryError("a batch does not fit"), 1, "a batch does not fit"),
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device", "a.tif"), 1, "[Errno 28] No space left on device: 'a.tif'"),
        (NotFound("a.tif does not exist", "give another"), 2, "a.tif does not exist; give another"),
        (ContractileError("tile must be 1,\ngot 0", "use 1"), 2, r"tile must be 1,\ngot 0; use 1"),
    ],
)
def test_what_ends_a_command_decides_its_status(data, capsys, monkeypatch, error, status, line):
    interrupted_by(monkeypatch, error)
    words = ("evaluate", data / "labels", data / "labels")
    assert refused(capsys, *words, status=status) == f"contractile: {line}"


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError, AssertionError, RuntimeError, ZeroDivisionError])
def test_a_fault_of_ours_shows_where_it_arose(data, capsys, monkeypatch, error):
    interrupted_by(monkeypatch, error("unsupported"))
    status, _, err = call(capsys, "evaluate", data / "labels", data / "labels")
    assert status == 70
    assert "Traceback (most recent call last)" in err
    assert "in stop" in err
    assert error.__name__ in err
    line = "contractile: this is a fault in contractile, please report it with the lines above"
    assert err.splitlines()[-1] == line


def test_the_log_is_shown_when_asked_for(data, capsys, monkeypatch):
    interrupted_by(monkeypatch, NotFinished("loss must stay a number", "lower it"))
    words = ("evaluate", data / "labels", data / "labels")
    for verbose in (("--verbose", *words), (*words, "--verbose"), ("evaluate", "--verbose", *words[1:])):
        status, _, err = call(capsys, *verbose)
        assert status == 1
        assert "contractile.engine.placed: three images" in err
        assert "in stop" in err
        assert err.splitlines()[-1] == "contractile: loss must stay a number; lower it"
    assert "three images" not in call(capsys, *words)[2]
    assert "--verbose  show the log" in call(capsys, "--help")[1]


def test_what_predictions_were_taken_for_is_shown(data, capsys):
    rng = np.random.default_rng(0)
    maps = data / "maps"
    maps.mkdir()
    for number in range(3):
        tifffile.imwrite(maps / f"{number}.tif", rng.random((40, 48), np.float32))
    for predicted, kind in ((data / "labels", "labels"), (maps, "probabilities")):
        status, out, err = call(capsys, "evaluate", predicted, data / "labels", "--scores", "dice")
        assert status == 0
        assert "taken as" not in out
        assert [line for line in err.splitlines() if "taken as" in line] == [f"taken as {kind}: {predicted / '0.tif'}"]


def test_ctrl_c_says_how_to_go_on(data, capsys, monkeypatch):
    interrupted_by(monkeypatch, KeyboardInterrupt())
    assert refused(capsys, "evaluate", data / "labels", data / "labels", status=130) == "contractile: stopped"
    interrupted_by(monkeypatch, KeyboardInterrupt(), "training", "train")
    assert "--resume" in refused(capsys, *train_words(data), status=130)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_with_one_line(data, capsys, monkeypatch, name, status):
    number = getattr(signal, name)
    former = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under `nohup`

    def deliver(*_: object, **__: object) -> None:
        """Call the handler as the system would: some virtual machines end a process that signals itself."""
        signal.getsignal(number)(number, None)

    monkeypatch.setattr("contractile.evaluation.evaluate", deliver)
    try:
        line = refused(capsys, "evaluate", data / "labels", data / "labels", status=status)
        assert signal.getsignal(number) == signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # as `nohup` leaves it
        with ended_by_signals():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, former)
    assert line == "contractile: stopped"


def test_the_demo_makes_everything_it_names(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "TRAINING_SIDE", 96)
    monkeypatch.setattr(demo, "run_demo", partial(demo.run_demo, minutes=0.02, large_side=160))
    status, text, told = call(capsys, "demo", "--out", tmp_path)
    assert status == 0
    assert "drawing 12 images of 96 x 96 pixels and one of 160 x 160" in told
    files = [line.split()[1] for line in text.splitlines() if line.startswith(("picture ", "report ", "model "))]
    assert [os.path.relpath(file, tmp_path) for file in files] == [
        "large_overlay.png", "run/report.html", "run/model.safetensors"
    ]  # fmt: skip
    assert all(os.path.isfile(file) for file in files)
    assert tifffile.imread(tmp_path / "large_labels.tif").shape == (160, 160)
    assert "the large image, which training never saw" in text
