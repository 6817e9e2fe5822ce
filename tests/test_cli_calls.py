"""Calls as people type them: patterns that the shell expanded, names of all kinds, what is shown and when."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import entries
from test_cli import call, refused

from contractile.cli import program
from contractile.cli.display import Bar
from contractile.cli.words import tidy
from contractile.model import Model, ModelCard, save
from contractile.quality import Calibration, Likeness
from contractile.unet import UNet, UNetConfig


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Three images in a folder, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 200, (24, 32), np.uint8)
        tifffile.imwrite(f"images/{number}.tif", pixels)
    return ["images/0.tif", "images/1.tif", "images/2.tif"]


@pytest.fixture
def model(images):
    config = UNetConfig(width=2, depth=1, classes=3)
    save(Model(UNet(config), ModelCard(network=config, task="objects", diameter=12.0)), "m.safetensors")
    return "m.safetensors"


# patterns that the shell expanded


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (
            ("train", "i/a.tif", "i/b.tif", "l/a.tif", "l/b.tif"),
            "train 'i/*.tif' 'l/*.tif'; or give the folder: train i l",
        ),
        (("train", "i/a.tif", "i/b.tif", "l"), "train 'i/*.tif' l; or give the folder: train i l"),
        (("train", "i/a.tif", "i/b.tif", "i/c.tif"), "train 'images/*.tif' 'labels/*.tif'"),
        (
            ("train", "i", "l", "--val-images", "v/a.png", "v/b.png", "--val-labels", "w"),
            "train 'images/*.tif' 'labels",
        ),
        (("train", "a 1.zarr", "a 2.zarr", "b/1.tif"), "train '*.zarr' b/1.tif; or give the folder: train . b/1.tif"),
        (("check", "i/a.tif", "i/b.tif", "i/c.tif"), "check 'i/*.tif'; or give the folder: check i"),
        (
            ("check", "my i/a.png", "my i/b.png", "l/a.tif", "l/b.tif"),
            "check 'my i/*.png' 'l/*.tif'; or give the folder",
        ),
        (("evaluate", "p/a.tif", "p/b.tif", "t/a.tif", "t/b.tif"), "evaluate 'p/*.tif' 't/*.tif'"),
        (("evaluate", "p", "t", "--against", "q/a.tif", "q/b.tif"), "evaluate 'images/*.tif' 'labels/*.tif'"),
    ],
)
def test_an_expanded_pattern_gets_one_line(capsys, words, cure):
    line = refused(capsys, *words, *(("--out", "r") if words[0] == "train" else ()))
    assert "; quote the pattern, or the shell puts its files in its place: " in line
    assert cure in line
    assert not Path("r").exists()


def test_words_that_are_no_files_of_a_pattern(capsys):
    line = refused(capsys, "train", "images", "labels", "run", "--out", "r")
    assert line == (
        "contractile: train takes IMAGES and LABELS, got 3 words (images, labels, run); the value of an option "
        "follows its name, as in --out run"
    )


def test_a_long_list_of_files_is_cut_short(capsys):
    files = [f"i/{number}.tif" for number in range(500)]
    assert "got 500 words (i/0.tif, i/1.tif, i/2.tif, i/3.tif, ...)" in refused(capsys, "check", *files)


def test_predict_and_info_take_an_expanded_pattern(images, model, capsys):
    status, _, told = call(capsys, "predict", model, *images, "--out", "out")
    assert (status, told.count("_labels.tif\n")) == (0, 3)
    assert [path.name for path in entries("out")] == ["0_labels.tif", "1_labels.tif", "2_labels.tif"]
    status, text, _ = call(capsys, "info", *images, model)
    assert status == 0
    lines = [line.split(":")[0] for line in text.splitlines()]
    assert (lines[0], lines[-3:]) == (model, ["0.tif", "1.tif", "2.tif"])


def test_a_pattern_without_a_model(images, capsys):
    line = refused(capsys, "predict", *images, "--out", "out")
    assert line == (
        "contractile: the first word must be a model, got the file images/0.tif; name the model before the images: "
        "predict nuclei images/*.tif"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("train", "images"), "train images labels --out run"),
        (("predict",), "predict nuclei images --out results"),
        (("predict", "images", "--out", "out"), "predict nuclei images --out results"),
        (("evaluate", "images"), "evaluate results labels"),
        (("info",), "info images"),
        (("check",), "check images labels"),
    ],
)
def test_a_missing_word_gets_an_example(images, capsys, words, line):
    missing, example = refused(capsys, *words).split("; for example: ")
    assert missing.startswith("contractile: Missing ")
    assert example == f"contractile {line}"


def test_help_has_a_whole_line_for_each_verb(capsys):
    text = call(capsys, "--help")[1]
    assert text.split("Commands:\n")[1].splitlines() == [
        "  train     Train on annotated images.",
        "  predict   Segment images of any size.",
        "  evaluate  Score predictions against the truth.",
        "  check     Name what is wrong with a dataset, and the cure.",
        "  info      Describe models and images.",
        "  demo      Try everything on synthetic images.",
        "  seams     Measure what tiles change.",
        "  view      See, correct, and watch it learn.",
        "  export    Write a model for other programs.",
        "  import    Make a model file of weights of another program.",
    ]


def test_a_pattern_that_brings_other_files_along(images, model, capsys):
    for name in ("images/notes.txt", "images/empty"):
        Path(name).write_text("")
    words = [*images, "images/notes.txt", "images/empty"]
    said = "2 of the 5 files are no images and are left out: images/notes.txt, images/empty\n"
    status, _, told = call(capsys, "predict", model, *words, "--out", "out")
    assert (status, told.count("_labels.tif\n"), told.count(said)) == (0, 3, 1)
    status, text, told = call(capsys, "info", *words)
    assert (status, text.count("\n"), told) == (0, 3, said)
    assert "unknown format .txt" in refused(capsys, "predict", model, "images/notes.txt", "--out", "out")
    assert "unknown format .txt" in refused(capsys, "info", "images/notes.txt", "images/empty")
    assert "missing.tif: nothing there" in refused(capsys, "info", "missing.tif")


def test_a_file_that_looks_like_an_option(images, model, capsys):
    Path(images[0]).rename("-0.tif")
    line = refused(capsys, "predict", model, "-0.tif", "--out", "out")
    assert line.endswith("; -0.tif is a file: write ./-0.tif, since an option begins with - too")
    assert call(capsys, "predict", model, "./-0.tif", "--out", "out")[0] == 0
    assert call(capsys, "info", "--", "-0.tif")[0] == 0
    assert refused(capsys, "info", "--wrong").endswith("No such option: --wrong; see contractile info --help")


@pytest.mark.parametrize("verb", ["info", "predict", "check", "train"])
def test_a_pattern_that_matches_nothing(images, model, capsys, verb):
    words = {"info": ("info",), "predict": ("predict", model), "check": ("check",), "train": ("train", "images")}[verb]
    out = () if verb in ("info", "check") else ("--out", "out")
    status, text, told = call(capsys, *words, "pictures/*.tif", *out)
    assert status == (1 if verb == "check" else 2)  # check lists it with what else is wrong
    assert "pictures/*.tif: no file matches; check the pattern and the working folder" in text + told
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "word", [r"images\*.tif", r"images\0.tif", "'images/*.tif'", "\u2018images/*.tif\u2019", '"images/"', "`images`"]
)
def test_patterns_of_other_systems_and_pages(images, capsys, word):
    status, text, _ = call(capsys, "info", word)
    assert status == 0
    assert text.startswith("0.tif: 24 x 32 pixels")


def test_a_name_that_is_there_is_taken_as_it_is(images):
    Path("'0.tif'").touch()
    Path(r"images\0.tif").touch()
    assert tidy(["'0.tif'", r"images\0.tif", "'1.tif'"]) == ["'0.tif'", r"images\0.tif", "'1.tif'"]
    assert tidy(r"images\1.tif") == "images/1.tif"
    assert tidy("a\0b") == "a\0b"
    assert tidy("'") == "'"
    assert tidy(None) is None


# names of files


@pytest.mark.parametrize(
    "name", ["Zelle ä.tif", "[red]a[1].tif", "a[/b].tif", "細胞 1.tif", "a%s{0}.tif", "a\udce4.tif"]
)
def test_any_name_of_a_file_is_shown(images, model, capsys, name):
    path = Path("folder", name)
    try:
        path.parent.mkdir(parents=True)
        Path(images[0]).rename(path)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this system has no such names")
    status, _, told = call(capsys, "predict", model, path, "--out", path.parent)
    assert status == 0
    assert f"{path.name}: {path.with_suffix('')}_labels.tif" in told.replace("\\udce4", "\udce4")
    status, text, _ = call(capsys, "info", path)
    assert (status, text.replace("\\udce4", "\udce4").split(": ")[0]) == (0, path.name)


@pytest.mark.skipif(os.name != "posix", reason="other systems set the letters of a terminal in other ways")
def test_a_poor_terminal_without_a_home_folder(images, tmp_path):
    """No letters beyond ASCII, twelve columns, no colours; nobody's home."""
    Path(images[0]).rename("images/Zelle ä.tif")
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME", "LANG")}
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb", "COLUMNS": "12"}
    words = ["evaluate", "images", "images", "--scores", "dice", "--json", "s.json"]
    done = subprocess.run(
        [sys.executable, "-m", "contractile.cli", *words],
        env={**kept, **poor, "TMPDIR": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "dice" in done.stdout
    assert "1.0" in done.stdout
    assert [image["name"] for image in json.loads(Path("s.json").read_text())["images"]][:2] == ["1", "2"]


def test_a_stream_of_few_letters_takes_all_names(monkeypatch, capsys):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    program._print_any_name()
    print("Zelle ä \udce4", flush=True)
    assert stream.buffer.getvalue() == b"Zelle \\xe4 \\udce4\n"


# what is shown, and when


def test_no_bar_before_the_first_step(images, model, capsys):
    for words in (
        ("predict", model, "nothing", "--out", "out"),
        ("train", "nothing", "images", "--out", "out"),
        ("evaluate", "nothing", "images"),
    ):
        status, text, told = call(capsys, *words)
        assert (status, text, told.count("\n")) == (2, "", 1)


def test_a_bar_shows_how_far_the_work_is(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    with Bar("images") as bar:
        bar.announce("[bold]first[/bold]")
        bar.show("[a].tif", 1, 4)
        logging.getLogger("contractile.images").warning("a line of the reader")
        bar.show("[a].tif", 4, 4)
    told = capsys.readouterr().err
    assert "[bold]first[/bold]\n" in told
    assert "[a].tif" in told
    assert "4/4 images" in told


def test_a_log_is_told_now_and_then_how_far_the_work_is(capsys, monkeypatch):
    clock = iter([100.0, 110.0, 140.0, 150.0, 175.0, 176.0])
    monkeypatch.setattr("contractile.cli.display.time.monotonic", lambda: next(clock))
    with Bar("tiles") as bar:
        for done in (20, 25, 40, 45, 50, 100):
            bar.show("[a].tif", done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "[a].tif: 40 of 100 (tiles), 0:02:00 left",
        "[a].tif: 50 of 100 (tiles), 0:02:05 left",
    ]


def test_a_call_in_a_folder_that_is_gone(images, capsys, monkeypatch):
    def refuse():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", refuse)
    line = refused(capsys, "info", "images")
    assert line == "contractile: the working folder is not there any more; change to another folder (cd)"


# options that reach the library


def test_the_axes_reach_every_verb(images, model, capsys, monkeypatch):
    asked = {}

    def take(name, result):
        def function(*_, **options):
            asked[name] = options
            return result

        return function

    monkeypatch.setattr("contractile.prediction.predict_files", take("predict", []))
    monkeypatch.setattr("contractile.check.check_dataset", take("check", []))
    monkeypatch.setattr("contractile.check.fix_dataset", take("fix", []))
    assert call(capsys, "predict", model, "images", "--out", "out", "--axes", "YXC")[0] == 0
    assert call(capsys, "check", "images", "images", "--fix", "fixed", "--axes", "YXC")[0] == 0
    assert {name: options["axes"] for name, options in asked.items()} == dict.fromkeys(
        ("predict", "check", "fix"), "YXC"
    )
    assert call(capsys, "predict", model, "images", "--out", "out")[0] == 0
    assert "axes" not in asked["predict"]  # the model file decides


def test_the_options_of_a_training_reach_it(images, capsys, monkeypatch):
    asked = {}

    def stop(*_, **options):
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("contractile.training.train", stop)
    words = ("train", "images", "images", "--out", "run", "--steps", "3")
    assert call(capsys, *words, "--axes", "TYX", "--anyway")[0] == 130
    assert asked["recipe"] == {"base": "default", "steps": 3, "axes": "TYX"}
    assert asked["anyway"] is True
    asked.clear()
    call(capsys, *words)
    assert "anyway" not in asked
    assert "axes" not in asked["recipe"]


def test_an_evaluation_is_told_what_the_files_hold(images, capsys, monkeypatch):
    asked = []

    def stop(*_, config, **__):
        asked.append((config.probabilities, config.axes, config.ignore_label))
        raise KeyboardInterrupt

    monkeypatch.setattr("contractile.evaluation.evaluate", stop)
    call(capsys, "evaluate", "images", "images", "--probabilities", "--axes", "TYX", "--ignore-label", "65535")
    call(capsys, "evaluate", "images", "images")
    assert asked == [(True, "TYX", 65535), (False, None, None)]


# one folder that holds both


def put_objects(folder, name):
    labels = np.zeros((24, 32), np.uint8)
    labels[4:12, 4:12], labels[4:12, 12:20], labels[16:20, 24:30] = 1, 2, 3
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / name, labels)


@pytest.mark.parametrize(
    ("images_at", "labels_at"),
    [
        ("images/{}.tif", "masks/{}.tif"),
        ("imagesTr/case_{}_0000.tif", "labelsTr/case_{}.tif"),
        ("{}_img.tif", "{}_mask.tif"),
        ("{0}/images/{0}.tif", "{0}/label/{0}.tif"),
        ("train/x/{}.tif", "train/y/{}.tif"),
    ],
)
def test_one_folder_holds_images_and_labels(images, capsys, monkeypatch, images_at, labels_at):
    for number, image in enumerate(images):
        place, truth = (Path("data", form.format(number)) for form in (images_at, labels_at))
        place.parent.mkdir(parents=True, exist_ok=True)
        Path(image).rename(place)
        put_objects(truth.parent, truth.name)
    said = f"data holds both: images such as data/{images_at.format(0)} and labels such as data/{labels_at.format(0)}\n"
    asked = []

    def stop(*places, **_):
        asked.append(places)
        raise KeyboardInterrupt

    monkeypatch.setattr("contractile.training.train", stop)
    status, _, told = call(capsys, "train", "data", "--out", "run", "--steps", "3")
    assert (status, asked, told.count(said)) == (130, [("data", "data")], 1)
    status, text, told = call(capsys, "check", "data", "--fix", "fixed")
    assert (status, told.count(said)) == (0, 1)
    assert text.endswith("3 label file(s) written to fixed, 0 of them repaired\n")
    put_objects(Path("data", labels_at.format(1)).parent, Path(labels_at.format(1)).name)
    tifffile.imwrite(Path("data", labels_at.format(1)), np.zeros((5, 5), np.uint8))
    status, text, _ = call(capsys, "check", "data")
    assert (status, "error: " in text) == (1, True)


def test_a_folder_without_labels(images, capsys):
    line = refused(capsys, "train", "images", "--out", "run")
    assert line == (
        "contractile: LABELS are missing, and images holds none that can be told from images (images and labels are "
        "the same files: 0.tif, 1.tif, 2.tif); give both: train IMAGES LABELS; or a folder that holds both, such as "
        "images and masks"
    )
    assert refused(capsys, "train", "absent", "--out", "run").startswith("contractile: absent: nothing there;")
    status, _, told = call(capsys, "check", "images")
    assert (status, told) == (0, "")
    assert not Path("run").exists()


# where results go


@pytest.mark.parametrize("place", ["file", "file/run", "link", "/proc/run"])
@pytest.mark.parametrize("verb", ["train", "predict", "evaluate", "check", "demo"])
def test_a_place_that_takes_no_files_is_named_before_any_work(images, model, capsys, monkeypatch, verb, place):
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("there is no such system of files")
    Path("file").write_text("")
    Path("link").symlink_to("nowhere")

    def fail(*_, **__):
        pytest.fail("work was done")

    for name in ("training.train", "evaluation.evaluate", "check.check_dataset", "demo.run_demo"):
        monkeypatch.setattr(f"contractile.{name}", fail)
    monkeypatch.setattr("contractile.prediction.files.find_joined", fail)
    words = {
        "train": ("images", "images", "--out", place),
        "predict": (model, "images", "--out", place),
        "evaluate": ("images", "images", "--json", f"{place}/scores.json"),
        "check": ("images", "images", "--fix", place),
        "demo": ("--out", place),
    }
    why = {
        "file": "it is a file",
        "file/run": f"{Path('file').absolute()} is a file",
        "link": "it is a link to nowhere, which is not there",
        "/proc/run": "/proc takes no new files",
    }
    line = refused(capsys, verb, *words[verb], status=1 if place.startswith("/proc") else 2)
    assert line == (
        f"contractile: {place}: no files can be written into this folder: {why[place]}; choose a folder that you may "
        "write to"
    )


def test_scores_are_not_written_over_a_folder(images, capsys):
    line = refused(capsys, "evaluate", "images", "images", "--json", "images")
    assert line == "contractile: images: the file cannot be written: it is a folder; name a file"


def test_a_home_folder_that_the_shell_left(images, model, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    assert call(capsys, "predict", model, "images/0.tif", "--out=~/out")[0] == 0
    assert [path.name for path in entries("home/out")] == ["0_labels.tif"]
    assert not Path("~").exists()


# info


def test_info_says_what_the_pages_are(images, capsys):
    stack = np.arange(2 * 3 * 4 * 6, dtype=np.uint16).reshape(2, 3, 4, 6)
    tifffile.imwrite(
        "stack.tif", stack, imagej=True, resolution=(2, 2),
        metadata={"axes": "TZYX", "unit": "um", "spacing": 1.5, "finterval": 60},
    )  # fmt: skip
    status, text, _ = call(capsys, "info", "stack.tif")
    assert status == 0
    assert text == (
        "stack.tif: 6 pages (T 2, one every 60 s; Z 3, 1.5 um apart) of 4 x 6 pixels, 1 channel(s), uint16, 0 to 143, "
        "axes TZYX, 0.5 x 0.5 um per pixel\n"
    )


def test_info_gives_the_pixel_sizes_of_all_images_in_a_file(images, capsys):
    with tifffile.TiffWriter("two.ome.tif", ome=True) as writer:
        for size in ({"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}, {"PhysicalSizeX": 0.4, "PhysicalSizeY": 0.4}):
            writer.write(np.zeros((20, 30), np.uint16), metadata={"axes": "YX", **size})
    assert "0.2 x 0.2 to 0.4 x 0.4 um per pixel" in call(capsys, "info", "two.ome.tif")[1]


def test_info_says_which_axes_are_given_or_guessed(images, capsys):
    np.save("a.npy", np.zeros((30, 40, 5), np.float32))
    assert "axes YXC (as given)" in call(capsys, "info", "a.npy", "--axes", "YXC")[1]
    assert "(guessed)" in call(capsys, "info", "a.npy")[1]
    assert "5 pages (Q 5) of 30 x 40 pixels" in call(capsys, "info", "a.npy", "--axes", "YXQ")[1]


def test_info_describes_pixels_that_are_not_numbers(images, capsys):
    pixels = np.linspace(0, 2, 600, dtype=np.float32).reshape(20, 30)
    pixels[0, :3] = np.nan, np.inf, -np.inf
    np.save("a.npy", pixels)
    np.save("b.npy", np.full((20, 30), np.nan, np.float32))
    text = call(capsys, "info", "a.npy", "b.npy")[1]
    assert "float32, 0.0100167 to 2, 3 pixels that are NaN or infinite, axes YX" in text
    assert "float32, no value, 600 pixels that are NaN or infinite, axes YX" in text


def test_info_reads_only_a_part_of_large_files(images, capsys, monkeypatch):
    monkeypatch.setattr("contractile.cli.describing.AT_MOST", 1000)
    pixels = np.zeros((100, 100), np.uint8)
    pixels[40:60, 40:60], pixels[0, 0] = 7, 200
    np.save("a.npy", pixels)
    np.save("b.npy", np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((1, 20, 20), np.uint8))
    text = call(capsys, "info", "a.npy", "b.npy")[1]
    assert "uint8, 0 to 7 in its middle, axes YX" in text
    assert "30 pages (Q 30) of 20 x 20 pixels, 1 channel(s), uint8, 0 to 1 in the first 2 page(s), axes" in text


def test_info_describes_images_of_different_kinds_one_by_one(images, capsys):
    with tifffile.TiffWriter("a.tif") as tiff:
        tiff.write(np.zeros((8, 9), np.uint8), metadata=None)
        tiff.write(np.full((10, 11), 5, np.uint8), metadata=None)
    text = call(capsys, "info", "a.tif")[1]
    assert "a.tif (image 0): 8 x 9 pixels, 1 channel(s), uint8, 0 to 0, axes YX" in text
    assert "a.tif (image 1): 10 x 11 pixels, 1 channel(s), uint8, 5 to 5, axes YX" in text
    with tifffile.TiffWriter("b.ome.tif", ome=True) as tiff:
        tiff.write(np.zeros((3, 8, 9), np.uint8), photometric="minisblack", metadata={"axes": "TYX"})
        tiff.write(np.full((2, 8, 9), 5, np.uint8), photometric="minisblack", metadata={"axes": "CYX"})
    assert call(capsys, "info", "b.ome.tif")[1].splitlines() == [
        "b.ome.tif (image 0): 3 pages (T 3) of 8 x 9 pixels, 1 channel(s), uint8, 0 to 0, axes TYX, pixel size unknown",
        "b.ome.tif (image 1): 8 x 9 pixels, 2 channel(s), uint8, 5 to 5, axes CYX, pixel size unknown",
    ]


def spoil_a_strip(path):
    """Zeros in the middle: the file can be opened, and not read."""
    data = Path(path).read_bytes()
    at = len(data) // 3
    Path(path).write_bytes(data[:at] + bytes(100) + data[at + 100 :])


@pytest.mark.parametrize("place", ["images", "images/*.tif", "each"])
@pytest.mark.parametrize("name", ["0.tif", "1.tif", "2.tif"])
def test_info_goes_on_after_a_file_that_cannot_be_read(images, capsys, name, place):
    def cut(path):
        Path(path).write_bytes(Path(path).read_bytes()[:300])

    def write_words(path):
        Path(path).write_text("no picture")

    def compress(path):
        tifffile.imwrite(path, tifffile.imread(path), compression="zlib")
        spoil_a_strip(path)

    whole = Path("images", name).read_bytes()
    for spoil in (cut, write_words, compress):
        Path("images", name).write_bytes(whole)
        spoil(Path("images", name))
        status, text, told = call(capsys, "info", *(images if place == "each" else [place]))
        assert status == 1
        assert [line.split(":")[0] for line in text.splitlines()] == [
            f"{n}.tif" for n in range(3) if f"{n}.tif" != name
        ]
        first, last = told.splitlines()
        assert first.startswith(f"images/{name}: ")
        assert last.startswith(f"contractile: 1 of 3 files could not be described: images/{name}; mend them or leave")


def test_info_names_places_and_models_that_are_not_there(images, model, capsys):
    Path("broken.safetensors").write_text("no model")
    status, text, told = call(capsys, "info", *images, "absent.tif", "no/*.tif", model, "broken.safetensors")
    assert status == 1
    assert [line for line in text.splitlines() if ": 24 x" in line][-1].startswith("2.tif: 24 x 32 pixels")
    assert text.startswith(f"{model}: objects, ")
    lines = told.splitlines()
    assert [line.split(":")[0] for line in lines] == ["broken.safetensors", "absent.tif", "no/*.tif", "contractile"]
    assert lines[-1] == (
        "contractile: 3 of 7 files could not be described: broken.safetensors, absent.tif, no/*.tif; "
        "mend them or leave them out; the results of the others are complete"
    )


def test_info_says_in_a_line_what_a_model_judges_itself_by(tmp_path, capsys):
    config = UNetConfig(width=2, depth=1)
    likeness = Likeness(scales=(1.0,), axes=((1.0,),), images=((0.0,),) * 200, limit=1.0)
    calibration = Calibration(sharpness=1.0, spread=(0.1, 0.1), images=3)
    card = ModelCard(network=config, class_values=(0, 1), likeness=likeness, calibration=calibration)
    save(Model(UNet(config), card), tmp_path / "m.safetensors")
    told = json.loads(call(capsys, "info", tmp_path / "m.safetensors", "--json")[1])
    assert told["likeness"] == "learned from 200 images or parts of them"
    assert told["calibration"] == "learned from 3 image(s)"
    assert told["confidence"] is None


def test_info_tells_what_a_model_is_in_words(capsys):
    """Short lines: what it is for, data, scores and limits; the whole card is JSON where it is asked for."""
    status, out, _ = call(capsys, "info", "nuclei")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "nuclei: objects, 1,944,179 parameters"
    assert lines[1].startswith("  Nuclei in 2-D fluorescence images, bright on dark.")
    assert max(map(len, lines)) <= 101  # the hash of the data cannot be broken
    told = " ".join(out.split())
    for part in (
        "Limits: ",
        "task objects: touching objects get different numbers",
        "image channels 1",
        "size of objects typically 43 pixels across, from 12 to 63; images with others are resampled to fit",
        "symmetry the output turns and mirrors with the image, because kernels were tied in training",
        " networks 1 ",
        " ap 0.841, AP at IoU 0.5, pooled over the set",
        "annotated images 308",
        "confidence learned from 982 objects in 31 image(s)",
    ):
        assert part in told
    card = json.loads(call(capsys, "info", "nuclei", "--json")[1])
    assert (card["symmetry"], card["network"]["symmetry"], card["provenance"]["images"]) == ("square", "none", 308)


def test_info_names_the_classes_and_the_networks_of_a_model(tmp_path, capsys):
    config = UNetConfig(width=2, depth=1, classes=3)
    names = ("background", "cell", "dead cell")
    card = ModelCard(network=config, class_values=(0, 1, 2), class_names=names, axes="YXC", shrunk=2, others=(config,))
    save(Model(UNet(config), card, others=[UNet(config)]), tmp_path / "m.safetensors")
    told = " ".join(call(capsys, "info", tmp_path / "m.safetensors")[1].split())
    assert "classes 0 background, 1 cell, 2 dead cell" in told
    assert "networks 2: the result is the mean of what they say" in told
    assert "axes of image files YXC" in told
    assert "resolution images are shrunk by 2 before the network sees them" in told


def test_info_of_files_that_all_are_bad(images, capsys):
    for path in images:
        Path(path).write_text("")
    line = refused(capsys, "info", "images")
    assert line.startswith("contractile: images/0.tif: ")
    assert "(so none of the 3 files could be described); " in line
    line = refused(capsys, "info", images[0])
    assert line.startswith("contractile: images/0.tif: ")
    assert "none of the" not in line


def test_info_lists_a_set_of_files_once(images, capsys):
    stack = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    of_planes = (f'<UUID FileName="s{t}.ome.tif">urn:uuid:{t}</UUID>' for t in range(2))
    planes = (f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1">{uuid}</TiffData>' for t, uuid in enumerate(of_planes))
    sizes = 'SizeX="6" SizeY="4" SizeZ="1" SizeC="1" SizeT="2" DimensionOrder="XYZCT" Type="uint8"'
    image = f'<Image ID="Image:0"><Pixels ID="Pixels:0" {sizes}>{"".join(planes)}</Pixels></Image>'
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    for number in range(2):
        text = f'<OME xmlns="{space}" UUID="urn:uuid:{number}">{image}</OME>'
        tifffile.imwrite(f"s{number}.ome.tif", stack[number], description=text, metadata=None)
    status, text, _ = call(capsys, "info", "s0.ome.tif", "s1.ome.tif")
    assert (status, text.count("\n")) == (0, 1)
    assert text.startswith("s0.ome.tif: 2 pages (T 2) of 4 x 6 pixels")


def test_info_leaves_out_what_lies_beside_images(images, capsys):
    np.save("images/0_seg.npy", {"masks": 1}, allow_pickle=True)
    tifffile.imwrite("images/0_cp_masks.tif", np.zeros((24, 32), np.uint8))
    for words in (["images"], [*images, "images/0_seg.npy", "images/0_cp_masks.tif"]):
        status, text, _ = call(capsys, "info", *words)
        assert (status, [line.split(":")[0] for line in text.splitlines()]) == (0, ["0.tif", "1.tif", "2.tif"])


@pytest.mark.parametrize("place", ["images", "images/*.tif", "each"])
def test_predict_goes_on_after_a_file_that_cannot_be_read(images, model, capsys, place):
    Path("images/1.tif").write_text("no picture")
    status, _, told = call(capsys, "predict", model, *(images if place == "each" else [place]), "--out", "out")
    assert (status, [path.name for path in entries("out")]) == (1, ["0_labels.tif", "2_labels.tif"])
    assert told.count("images/1.tif: ") == 1
    assert told.splitlines()[-1] == (
        "contractile: 1 of 3 files could not be predicted: images/1.tif; mend them or leave them out; the results of "
        "the others are complete"
    )


def test_masks_with_another_background_are_scored_when_it_is_named(tmp_path, capsys):
    truth = np.zeros((40, 40), np.uint8)
    truth[10:20, 10:25] = 1
    for folder, mask in (("truth", truth), ("masks", np.where(truth, 1, 2).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", mask)
    asked = ("evaluate", str(tmp_path / "masks"), str(tmp_path / "truth"), "--scores", "dice")
    assert "--background 2" in refused(capsys, *asked)
    status, out, _ = call(capsys, *asked, "--background", "2")
    assert status == 0
    assert "1.0000" in out
