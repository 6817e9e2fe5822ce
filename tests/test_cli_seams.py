"""`contractile seams`: a table, a sentence, a picture; and one line for each wrong call."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import entries
from PIL import Image
from test_cli import call, refused
from test_prediction_seams import NETWORKS, make_predictor, noise

from contractile.cli import display
from contractile.cli.seams import conclude, describe_part
from contractile.errors import NotWritten
from contractile.model import Model, save
from contractile.prediction.seams import measure_seams
from contractile.report import seams as drawing
from contractile.report.seams import draw_seams, say_difference, say_objects, say_pixels, say_sides

QUICK = ("--engine", "torch", "--precision", "float32", "--device", "cpu")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a model and an image."""
    monkeypatch.chdir(tmp_path)
    predictor = make_predictor(NETWORKS["padded"])
    save(Model(predictor.network, predictor.card), tmp_path / "model.safetensors")
    pixels = (255 * noise(NETWORKS["padded"], 60, 80)[0]).astype(np.uint8)
    tifffile.imwrite("cells.tif", pixels)
    return tmp_path


@pytest.fixture(scope="module")
def found():
    return measure_seams(make_predictor(NETWORKS["padded"]), noise(NETWORKS["padded"], 60, 90))


@pytest.fixture(scope="module")
def objects():
    config = NETWORKS["padded"]
    return measure_seams(make_predictor(config, task="objects"), noise(config, 60, 90))


def test_the_whole_call(place, capsys, monkeypatch):
    monkeypatch.setattr(display, "SILENT_SECONDS", 0.0)  # say each step in the log
    status, text, told = call(capsys, "seams", "model.safetensors", "cells.tif", *QUICK)
    assert status == 0, told
    lines = text.splitlines()
    assert lines[0] == "all 60 x 80 pixels, in float32"
    assert lines[1] == "tiles of 68 x 72 pixels, moved by 8 x 12, or 10 x 14 off the grid"
    assert sum("overlap" in line for line in lines) == 10 + 1  # the ways, and the best and the worst in the conclusion
    assert any(line.startswith("margin: we drop 24 pixels; this network needs ") for line in lines)
    assert lines[-2].startswith("our tiles leave no seam (rounding alone: ")
    assert lines[-1] == "picture cells_seams.png"
    with Image.open("cells_seams.png") as picture:
        assert picture.format == "PNG"
    assert "measuring: " in told
    assert " left" in told
    assert call(capsys, "seams", "model.safetensors", "cells.tif", *QUICK)[0] == 0  # its own picture is replaced
    assert [path.name for path in entries(place)] == ["cells.tif", "cells_seams.png", "model.safetensors"]


def test_the_picture_has_a_panel_for_each_way(found, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures, write = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *words, **more: (figures.append(self), write(self, *words, **more))
    )
    draw_seams(found, tmp_path / "a.png", title="cells $x^2$")
    (figure,) = figures
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()]
    assert titles == [
        "the image, 60 x 90 pixels",
        *(one.title for one in (found.moved, found.off_grid, *found.peers)),
        f"The margin: zeros beyond a tile are felt {say_sides(found.margins.needed)} pixels deep",
    ]
    assert figure.get_suptitle() == "cells $x^2$"
    maps = [axes for axes in figure.axes if axes.get_title().startswith(("zeros", "mirrored"))]
    assert all(len(axes.lines) == sum(map(len, peer.lines)) for axes, peer in zip(maps, found.peers, strict=True))
    np.testing.assert_array_equal(maps[0].images[0].get_array(), found.peers[0].differences)
    assert maps[0].images[0].norm.vmin == drawing.LEAST
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 800


def test_a_volume_shows_its_middle_slice(tmp_path):
    config = NETWORKS["volumes"]
    volume = measure_seams(make_predictor(config), noise(config, 9, 20, 26))
    draw_seams(volume, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_large_maps_are_shrunk_to_their_largest_values():
    values = np.zeros((1000, 961), np.float32)
    values[999, 960] = values[0, 0] = 1
    small = drawing._shrink(values)
    assert small.shape == (334, 321)
    assert small[-1, -1] == small[0, 0] == small.max() == 1
    assert small.sum() == 2


def test_a_title_of_any_length():
    assert drawing._shorten("a" * 120) == "a" * 120
    assert drawing._shorten("a" * 90 + "b" * 90) == "a" * 60 + " ... " + "b" * 60


def test_a_picture_that_cannot_be_written(found, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(NotWritten, match=r"a\.png: cannot be written \(No space left on device\); choose a folder"):
        draw_seams(found, tmp_path / "a.png")
    assert not entries(tmp_path)


def test_numbers_in_words():
    assert [say_difference(value) for value in (0, 1.24e-6, 0.0312, 0.97)] == ["0", "1e-06", "0.031", "0.97"]
    assert [say_pixels(value) for value in (0, 1e-6, 0.0312, 1)] == ["0 %", "< 0.01 %", "3.1 %", "100 %"]
    assert say_objects(None, None) == "\N{EN DASH}"
    assert say_objects(3, 20) == "3 of 20"
    assert say_sides((24, 24)) == "24"
    assert say_sides((2, 24)) == "2 x 24"


def test_what_follows_is_said_in_a_sentence(found, objects):
    margin, sentence = conclude(found)
    assert margin.startswith("margin: we drop 24 pixels; this network needs ")
    best, worst = (choose(found.peers, key=lambda one: one.largest) for choose in (min, max))
    assert sentence == (
        f"our tiles leave no seam (rounding alone: {say_difference(max(found.whole.largest, found.moved.largest))} in "
        f"float32); of the other ways the best is off by up to {say_difference(best.largest)} ({best.title}), the "
        f"worst by {say_difference(worst.largest)} and changes {say_pixels(worst.pixels)} of the pixels ({worst.title})"
    )
    *_, sentence = conclude(replace(found, precision="bfloat16", float32=2e-6))
    assert "in bfloat16, 2e-06 in float32)" in sentence
    *_, sentence = conclude(replace(found, float32=0.2))
    assert sentence.startswith("our tiles show (")
    assert sentence.endswith("which is more than rounding: please report this, with model and image")
    *_, sentence = conclude(objects)
    assert f" of {objects.objects} objects (" in sentence
    assert list(describe_part(objects))[-1] == (
        f"{objects.crossing} of {objects.objects} objects lie across lines between tiles"
    )


def test_a_part_of_an_image_is_named(found):
    first, *_ = describe_part(replace(found, shape=(100, 90), scale=0.5))
    assert first == "the middle 60 x 90 of 100 x 90 pixels, enlarged 0.5 times for the model, in float32"


def test_a_grey_picture_that_is_stored_as_colour(place, capsys):
    grey = tifffile.imread("cells.tif")
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save("grey.png")
    status, text, _ = call(capsys, "seams", "model.safetensors", "grey.png", "--out", "a.png", *QUICK)
    assert status == 0
    assert text.startswith("all 60 x 80 pixels")


def test_the_first_page_of_a_stack(place, capsys):
    tifffile.imwrite("stack.tif", np.stack([tifffile.imread("cells.tif")] * 2), metadata={"axes": "TYX"})
    status, _, told = call(capsys, "seams", "model.safetensors", "stack.tif", *QUICK)
    assert status == 0
    assert "stack.tif holds 2 images: stack.tif (page 0) is measured" in told
    assert (place / "stack_0000_seams.png").exists()


WRONG = {
    "no image": ((), "Missing argument 'IMAGE'; for example: contractile seams nuclei image.tif"),
    "nothing there": (("absent.tif",), "absent.tif: nothing there; "),
    "many images": (
        ("cells.tif", "other.tif", "third.tif"),
        "seams takes MODEL and one IMAGE, got 4 words (model.safetensors, cells.tif, other.tif, third.tif); name one "
        "image",
    ),
    "other channels": (
        ("colour.png",),
        "colour.png: the image has 3 channel(s), but the model takes 1; give an image like those that it was trained "
        "on; where the axes were misread, name them (--axes)",
    ),
    "small tile": (
        ("cells.tif", "--tile", "30"),
        "tile must be at least 56 pixels (two margins of 24 and two steps of the pooling, 4) to be moved on the grid "
        "of this network, got 30; use 56 or more, or leave it out",
    ),
    "small image": (
        ("small.tif",),
        "small.tif: image must have at least 9 x 9 pixels along one of its axes to be cut into two tiles, got 7 x 6; "
        "give a larger image",
    ),
    "no picture": (("cells.tif", "--out", "a.jpg"), "--out must name a PNG file, got a.jpg; write e.g. a.png"),
    "a folder": (
        ("cells.tif", "--out", "folder.png"),
        "folder.png: the file cannot be written: it is a folder; name a file",
    ),
    "somebody's picture": (
        ("cells.tif", "--out", "colour.png"),
        "results must not replace files that this command did not write, or that have changed since, got colour.png; ",
    ),
    "the image itself": (
        ("colour.png", "--out", "colour.png"),
        "results must not replace what is read, got colour.png; choose another place",
    ),
    "a device": (("cells.tif", "--device", "gpu"), "device must be auto, cpu, cuda or mps, got 'gpu'; use auto"),
    "a tile in words": (
        ("cells.tif", "--tile", "big"),
        "--tile must be a whole number, got 'big'; give e.g. --tile 512",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_gets_one_line(place, capsys, name):
    words, line = WRONG[name]
    colours = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(colours).save("colour.png")
    tifffile.imwrite("small.tif", colours[:7, :6, 0])
    (place / "folder.png").mkdir()
    before = entries(place)
    said = refused(capsys, "seams", "model.safetensors", *words).removeprefix("contractile: ")
    assert said == line or (line.endswith("; ") and said.startswith(line))
    assert entries(place) == before


def test_an_image_in_the_place_of_the_model(place, capsys):
    line = refused(capsys, "seams", "cells.tif", "cells.tif")
    assert line.startswith("contractile: the first word must be a model, got the file cells.tif; name the model before")
