"""Files in, files out."""

import csv
import json
import logging
import re
import weakref

import numpy as np
import pytest
import tifffile
from conftest import entries
from test_prediction import EXACT, NETWORKS, make_model, predictor

from contractile import grid
from contractile.errors import (
    ContractileError,
    InUse,
    NotFinished,
    NotFound,
    NotWritable,
    NotWritten,
    OutOfMemory,
    WrongType,
)
from contractile.images import Stack, find, read, read_labels, read_probabilities
from contractile.images.formats import open_rasters
from contractile.model import save
from contractile.prediction import blocks, load, outputs, predict_files, unfinished
from contractile.prediction.inputs import has_absurd_value
from contractile.prediction.outputs import Outputs
from contractile.prediction.tracks import Tracker
from contractile.unet import UNetConfig


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "one.tif", rng.integers(0, 255, (40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "pages.tif", rng.integers(0, 255, (3, 32, 32), np.uint8), photometric="minisblack")
    save(make_model(NETWORKS["default"], class_values=(0, 255)), tmp_path / "model.safetensors")
    return tmp_path


def test_a_name_that_is_too_long_is_refused_before_any_work(files):
    (files / "one.tif").rename(files / ("x" * 246 + ".tif"))
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(
        ContractileError, match=r"may have 255 bytes in this folder, got 26\d.*; shorten the name of the im"
    ):
        list(predict_files(one, [*files.glob("x*.tif"), files / "pages.tif"], out=files / "out"))
    assert not (files / "out").exists()


def test_results_go_into_the_home_folder(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files))
    monkeypatch.setenv("USERPROFILE", str(files))
    list(predict_files(load(files / "model.safetensors", engine=EXACT), files / "one.tif", out="~/out"))
    assert [path.name for path in entries(files / "out")] == ["one_labels.tif"]


def test_files_and_stacks(files):
    one = load(files / "model.safetensors", engine=EXACT)
    seen = []
    written = list(
        predict_files(
            one,
            [files / "one.tif", files / "pages.tif"],
            out=files / "out",
            products=("labels", "probabilities", "overlay"),
            progress=lambda name, done, total: seen.append((name, done, total)),
        )
    )
    assert [w.pages for w in written] == [1, 3]
    names = {path.name for path in entries(files / "out")}
    assert names == {
        "one_labels.tif", "one_probabilities.tif", "one_overlay.png",
        "pages_labels.tif", "pages_probabilities.tif",
        "pages_0000_overlay.png", "pages_0001_overlay.png", "pages_0002_overlay.png",
    }  # fmt: skip
    assert {path for w in written for path in w.files} == set(entries(files / "out"))
    assert tifffile.imread(files / "out" / "pages_labels.tif").shape == (3, 32, 32)
    assert tifffile.imread(files / "out" / "pages_probabilities.tif").shape == (3, 2, 32, 32)
    maps = read_probabilities(files / "out" / "one_probabilities.tif")
    np.testing.assert_array_equal(read_labels(files / "out" / "one_labels.tif"), one.decode(maps))
    assert seen[-1] == ("pages.tif", 3, 3)


def test_results_beside_their_images_are_not_predicted(files, caplog):
    one = load(files / "model.safetensors", engine=EXACT)
    products = ("labels", "probabilities", "overlay")
    (files / "model.safetensors").unlink()
    tifffile.imwrite(files / "other_labels.tif", np.zeros((20, 20), np.uint8))  # nobody's result
    for _ in range(2):
        written = list(predict_files(one, files, out=files, products=products))
        assert [w.source.name for w in written] == ["one.tif", "other_labels.tif", "pages.tif"]
    assert "earlier result(s)" in caplog.text


def test_a_file_that_would_not_be_written_stays_and_does_not_matter(files):
    one = load(files / "model.safetensors", engine=EXACT)
    (files / "out").mkdir()
    (files / "out" / "one_overlay.tif").write_bytes(b"mine")
    list(predict_files(one, files / "one.tif", out=files / "out", products=("labels", "overlay")))
    assert (files / "out" / "one_overlay.tif").read_bytes() == b"mine"


def write_images(path, *arrays, axes=(), **form):
    """A TIFF of several images."""
    with tifffile.TiffWriter(path, **form) as writer:
        for number, array in enumerate(arrays):
            metadata = {"axes": axes[number]} if axes else None
            photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
            writer.write(array, photometric=photometric, metadata=metadata, compression="zlib")


@pytest.mark.parametrize("form", [{}, {"ome": True}])
def test_images_of_different_sizes_in_a_file_have_results_of_their_own(files, form):
    first, second = noise((20, 28), 1), noise((24, 30), 2)
    axes = ("YX", "YX") if form else ()
    write_images(files / "two.ome.tif", first, second, axes=axes, **form)
    one, everything = load(files / "model.safetensors", engine=EXACT), ("labels", "probabilities", "overlay")
    for out in (files / "out", files):
        written = list(predict_files(one, files / "two.ome.tif", out=out, products=everything))
        assert [(w.source.name, w.pages) for w in written] == [("two.ome.tif", 1)] * 2
        for number, pixels in enumerate((first, second)):
            labels = read_labels(out / f"two_000{number}_labels.tif")
            np.testing.assert_array_equal(labels, one.segment(pixels))
            assert read_probabilities(out / f"two_000{number}_probabilities.tif").shape == (2, *pixels.shape)
            assert read(out / f"two_000{number}_overlay.png").shape == (3, *pixels.shape)
    assert len(entries(files / "out")) == 6
    names, _ = predicted(one, files, files, products=everything)  # results beside their images
    assert names == ["one.tif", "pages.tif", "two.ome.tif", "two.ome.tif"]


def test_stacks_of_different_kinds_in_a_file_keep_their_axes(files, caplog):
    stacks = noise((3, 20, 28), 1), noise((4, 20, 28), 2), noise((16, 18), 3), noise((2, 3, 20, 28), 4)
    write_images(files / "many.ome.tif", *stacks, axes=("TYX", "ZYX", "YX", "TZYX"), ome=True)
    one = load(files / "model.safetensors", engine=EXACT)
    written = list(predict_files(one, files / "many.ome.tif", out=files / "out", products=("labels", "overlay")))
    assert [w.pages for w in written] == [3, 4, 1, 6]
    kept = [find(files / "out" / f"many_000{number}_labels.tif")[0].stack for number in range(4)]
    assert kept == [Stack("T", (3,)), Stack("Z", (4,)), None, Stack("TZ", (2, 3))]
    for number, pixels in enumerate(stacks):
        labels = tifffile.imread(files / "out" / f"many_000{number}_labels.tif").reshape(-1, *pixels.shape[-2:])
        for found, page in zip(labels, pixels.reshape(labels.shape), strict=True):
            np.testing.assert_array_equal(found, one.segment(page))
    overlays = sorted(path.name for path in (files / "out").glob("*.png"))
    assert overlays[:4] == [f"many_0000_000{page}_overlay.png" for page in range(3)] + ["many_0001_0000_overlay.png"]
    assert overlays[7] == "many_0002_overlay.png"
    list(predict_files(one, files / "many.ome.tif", out=files, products=("labels", "overlay")))
    assert predicted(one, files, files)[0] == ["many.ome.tif"] * 4 + ["one.tif", "pages.tif"]
    assert "18 earlier result(s)" in caplog.text


def test_tables_of_images_in_a_file(files):
    model = make_model(NETWORKS["default"], task="objects", class_values=())
    write_images(files / "two.tif", noise((3, 20, 28), 1), noise((24, 30), 2))
    list(predict_files(predictor(model), files / "two.tif", out=files / "out", products=("labels", "objects")))
    heads = [(files / "out" / f"two_000{number}_objects.csv").read_text().split(",")[0] for number in range(2)]
    assert heads == ["page", "id"]


def test_coco_of_images_in_a_file_names_each_as_its_other_results(files):
    model = make_model(NETWORKS["default"], task="objects", class_values=())
    write_images(files / "two.tif", noise((20, 28), 1), noise((24, 30), 2))
    list(predict_files(predictor(model), files / "two.tif", out=files / "out", products=("labels", "coco")))
    told = [json.loads((files / "out" / f"two_000{number}_coco.json").read_text()) for number in range(2)]
    assert [one["images"][0]["file_name"] for one in told] == ["two_0000.tif", "two_0001.tif"]


def test_an_image_in_a_file_that_does_not_fit_costs_itself_alone(files, caplog):
    write_images(files / "slide.ome.tif", noise((20, 28, 3), 1), noise((24, 30), 2), axes=("YXS", "YX"), ome=True)
    one = load(files / "model.safetensors", engine=EXACT)
    names, error = predicted(one, files / "slide.ome.tif", files / "out")
    assert names == ["slide.ome.tif"]
    assert [path.name for path in entries(files / "out")] == ["slide_0001_labels.tif"]
    assert error.problem == f"1 of 2 files could not be predicted: {files / 'slide.ome.tif'} (image 0)"
    assert "slide.ome.tif (page 0): the image has 3 channel(s), but the model takes 1" in caplog.text


def test_an_image_in_a_file_named_like_another_file_is_refused(files):
    write_images(files / "two.tif", noise((20, 28)), noise((24, 30)))
    tifffile.imwrite(files / "two_0001.tif", noise())
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ContractileError, match=r"images must have different names, got .*two.tif and .*two_0001.tif"):
        list(predict_files(one, [files / "two.tif", files / "two_0001.tif"], out=files / "out"))


def test_what_was_written_is_forgotten(folder, one, monkeypatch):
    made = []
    monkeypatch.setattr("contractile.prediction.files.Outputs", lambda *args: made.append(Outputs(*args)) or made[-1])
    damage(folder / "b.tif")
    predicted(one, folder, folder.parent / "out", products=("labels", "overlay"))
    assert len(made) == 5
    assert not any(outputs._found or outputs._pictures for outputs in made)


def test_pictures_of_pages_are_not_kept_as_they_are(files, monkeypatch):
    one, drawn, real = load(files / "model.safetensors", engine=EXACT), [], outputs.overlay

    def watched(image, labels):
        assert all(picture() is None for picture in drawn)
        picture = real(image, labels)
        drawn.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(outputs, "overlay", watched)
    list(predict_files(one, files / "pages.tif", out=files / "out", products=("overlay",)))
    assert len(drawn) == 3
    pictures = [read(files / "out" / f"pages_000{page}_overlay.png").pixels for page in range(3)]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_frames_of_a_movie_are_in_memory_one_at_a_time(files, monkeypatch):
    model, steps = make_model(NETWORKS["default"], task="objects", class_values=()), []
    real, add = blocks.Segmented.__array__, Tracker.add
    monkeypatch.setattr(
        blocks.Segmented, "__array__", lambda self, *more, **named: steps.append("read") or real(self, *more, **named)
    )
    monkeypatch.setattr(Tracker, "add", lambda self, *more: steps.append("join") or add(self, *more))
    list(predict_files(predictor(model), files / "pages.tif", out=files / "out", products=("ctc",)))
    assert steps == ["read", "join"] * 3


def test_tables_of_files_and_stacks(files):
    model = make_model(NETWORKS["default"], task="objects", class_values=())
    inputs = [files / "one.tif", files / "pages.tif"]
    list(predict_files(predictor(model), inputs, out=files / "out", products=("labels", "objects")))
    for name, pages in (("one", 1), ("pages", 3)):
        labels = np.reshape(tifffile.imread(files / "out" / f"{name}_labels.tif"), (pages, -1))
        with (files / "out" / f"{name}_objects.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(page.max() for page in labels)
        for row in rows:
            assert int(row["area_px"]) == (labels[int(row.get("page", 0))] == int(row["id"])).sum()


def test_classes_have_no_table_of_objects(files):
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match="products must not hold objects for a model of task classes"):
        list(predict_files(one, files / "one.tif", out=files / "out", products=("objects",)))


def test_unknown_products_are_refused(files):
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match=r"products must be among labels, .*, rois, ctc, got 'lables'"):
        list(predict_files(one, files / "one.tif", out=files / "out", products=("lables",)))


@pytest.mark.parametrize(
    ("products", "line"),
    [
        ("labels", "products must be a list of names, got 'labels'; give ('labels',)"),
        ("labels,overlay", "products must be a list of names, got 'labels,overlay'; give ('labels', 'overlay')"),
        (None, "products must be a list of names, got None; give ('labels',)"),
        ([3], "products must be a list of names, got [3]; give ('labels',)"),
    ],
)
def test_products_that_are_no_list_of_names(files, products, line):
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(WrongType) as error:
        list(predict_files(one, files / "one.tif", out=files / "out", products=products))
    assert str(error.value) == line


def test_two_inputs_of_one_name_are_refused(files):
    (files / "more").mkdir()
    tifffile.imwrite(files / "more" / "one.tif", np.zeros((4, 4), np.uint8))
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match=r"images must have different names, got .*one.tif and .*one.tif"):
        list(predict_files(one, [files / "one.tif", files / "more" / "one.tif"], out=files / "out"))


# one bad file among good ones -------------------------------------------------------------------


def noise(shape=(24, 32), seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five pictures; compressed, so that damage to the pixels is found when they are read, not when they are listed."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate("abcde"):
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", noise(seed=number), compression="zlib")
    return tmp_path / "in"


@pytest.fixture
def one():
    return predictor(make_model(UNetConfig(width=2, depth=1), class_values=(0, 255)))


def damage(path):
    """Zeros in the middle: the list of strips is whole, their content is not."""
    data = path.read_bytes()
    at = len(data) // 3
    path.write_bytes(data[:at] + bytes(100) + data[at + 100 :])


def predicted(one, images, out, **options):
    """Names of the inputs that were predicted, and the error at the end."""
    names = []
    try:
        for written in predict_files(one, images, out=out, **options):
            assert all(file.exists() for file in written.files)
            names.append(written.source.name)
    except ContractileError as error:
        return names, error
    return names, None


@pytest.mark.parametrize("broken", ["a", "c", "e", "ab", "bd", "de"])
def test_a_broken_file_does_not_stop_the_others(folder, one, caplog, broken):
    for name in broken:
        damage(folder / f"{name}.tif")
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "overlay"))
    assert names == [f"{name}.tif" for name in "abcde" if name not in broken]
    written = {path.name for path in entries(folder.parent / "out")}
    assert written == {f"{name[0]}_{product}" for name in names for product in ("labels.tif", "overlay.png")}
    assert type(error) is NotFinished
    listed = ", ".join(str(folder / f"{name}.tif") for name in broken)
    assert str(error) == (
        f"{len(broken)} of 5 files could not be predicted: {listed}; "
        "mend them or leave them out; the results of the others are complete"
    )
    for name in broken:
        assert len(re.findall(rf"{name}\.tif: unreadable", caplog.text)) == 1


def write_nothing(path):
    path.write_bytes(b"")


def write_words(path):
    path.write_text("no picture")


def write_nan(path):
    tifffile.imwrite(path, np.full((24, 32), np.nan, np.float32))


def write_half(path):
    path.write_bytes(path.read_bytes()[:200])


def write_colour(path):
    tifffile.imwrite(path, noise((24, 32, 3)), photometric="rgb")


def write_channels(path):
    tifffile.imwrite(path, noise((2, 24, 32)), metadata={"axes": "CYX"}, photometric="minisblack")


def write_complex(path):
    tifffile.imwrite(path, np.zeros((24, 32), np.complex64))


@pytest.mark.parametrize(
    "spoil",
    [write_nothing, write_words, write_nan, write_half, write_colour, write_channels, write_complex],
)
@pytest.mark.parametrize("name", ["a.tif", "c.tif", "e.tif"])
def test_a_file_bad_in_any_way_does_not_stop_the_others(folder, one, caplog, spoil, name):
    spoil(folder / name)
    names, error = predicted(one, folder, folder.parent / "out")
    assert names == [f"{letter}.tif" for letter in "abcde" if f"{letter}.tif" != name]
    assert isinstance(error, NotFinished)
    assert error.problem == f"1 of 5 files could not be predicted: {folder / name}"
    assert len([line for line in caplog.messages if name in line]) == 1


def test_a_broken_page_costs_its_file_alone(folder, one):
    pages = np.stack([noise(seed=page) for page in range(4)]).astype(np.float32)
    pages[2, 3, 3] = np.inf
    tifffile.imwrite(folder / "b.tif", pages, photometric="minisblack", metadata={"axes": "TYX"})
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "overlay"))
    assert names == ["a.tif", "c.tif", "d.tif", "e.tif"]
    assert error.problem.startswith("1 of 5 files could not be predicted")
    assert not list((folder.parent / "out").glob("b_*"))


def test_many_broken_files_are_not_all_listed_at_the_end(folder, one):
    for number in range(7):
        write_nothing(folder / f"z{number}.tif")
    names, error = predicted(one, folder, folder.parent / "out")
    assert len(names) == 5
    assert re.match(r"7 of 12 files could not be predicted: (\S+z\d.tif, ){5}\.\.\.$", error.problem)


def test_a_single_broken_file_is_its_own_error(folder, one):
    damage(folder / "a.tif")
    names, error = predicted(one, folder / "a.tif", folder.parent / "out")
    assert not names
    assert error.where == str(folder / "a.tif")
    assert error.problem.startswith("unreadable")
    assert "files" not in error.problem


@pytest.mark.parametrize("spoil", [write_nothing, write_nan, write_channels, damage])
def test_where_all_files_are_bad_the_first_error_is_the_answer(folder, one, caplog, spoil):
    for name in "abcde":
        spoil(folder / f"{name}.tif")
    names, error = predicted(one, folder, folder.parent / "out")
    assert not names
    assert type(error) is ContractileError
    assert error.where.startswith(str(folder / "a.tif"))
    assert error.problem.endswith("(so none of the 5 files could be predicted)")
    assert not caplog.messages
    assert not (folder.parent / "out").exists()


def test_wrong_channels_everywhere_are_refused_without_reading_the_pixels(folder, one, monkeypatch):
    for name in "abcde":
        write_channels(folder / f"{name}.tif")
    monkeypatch.setattr("contractile.prediction.inputs.read", lambda *_, **__: pytest.fail("pixels were read"))
    names, error = predicted(one, folder, folder.parent / "out")
    assert not names
    assert error.problem.startswith("the image has 2 channel(s), but the model takes 1")


def test_a_place_with_nothing_is_refused_at_once(folder, one):
    names, error = predicted(one, [folder / "a.tif", folder / "absent.tif"], folder.parent / "out")
    assert not names
    assert isinstance(error, NotFound)


def test_a_network_without_a_device_is_refused_once(folder, one, monkeypatch, caplog):
    def refuse(*_, **__):
        raise ContractileError("device must be here, got cuda", "use cpu")

    monkeypatch.setattr("contractile.prediction.predictor.place", refuse)
    names, error = predicted(one, folder, folder.parent / "out")
    assert not names
    assert str(error) == "device must be here, got cuda; use cpu"
    assert not caplog.messages


def test_a_first_image_that_no_network_can_be_shown_is_named_and_left_out(folder, one, caplog):
    tifffile.imwrite(folder / "a.tif", np.linspace(0, 1e300, 400).reshape(20, 20))
    assert one.placed is None
    names, error = predicted(one, folder, folder.parent / "out")
    assert names == ["b.tif", "c.tif", "d.tif", "e.tif"]
    assert error.problem == f"1 of 5 files could not be predicted: {folder / 'a.tif'}"
    assert f"{folder / 'a.tif'}: pixels must have a range of 1e-30 to 1e+30, got 1e+298 to" in caplog.text


def test_a_full_disk_ends_the_work_and_names_the_file(folder, one, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    names, error = predicted(one, folder, folder.parent / "out")
    assert not names
    assert isinstance(error, NotWritten)
    assert error.where.endswith("a_labels.tif")
    assert not (folder.parent / "out").exists()


def test_a_fault_of_ours_costs_no_finished_result(folder, one, monkeypatch):
    def fail(source, **options):
        if source.name == "c":
            raise KeyError("a fault")
        return read(source, **options)

    monkeypatch.setattr("contractile.prediction.inputs.read", fail)
    with pytest.raises(KeyError, match="a fault"):
        list(predict_files(one, folder, out=folder.parent / "out"))
    assert [path.name for path in entries(folder.parent / "out")] == ["a_labels.tif", "b_labels.tif"]


@pytest.fixture
def narrow(monkeypatch):
    """Let no results of these files be written as GeoJSON."""

    def refuse(names, error=None):
        def write(path, *_, **__):
            if path.name[0] in names:
                raise error or ContractileError("it has too many corners", "save labels instead", where=path)
            path.write_text("shapes")

        monkeypatch.setattr(outputs, "write_shapes", write)

    return refuse


@pytest.mark.parametrize("names", ["a", "c", "e", "ab", "de", "abcd"])
def test_results_that_a_format_cannot_hold_cost_their_file_alone(folder, one, narrow, caplog, names):
    narrow(names)
    out = folder.parent / "out"
    done, error = predicted(one, folder, out, products=("labels", "geojson"))
    assert done == [f"{name}.tif" for name in "abcde" if name not in names]
    assert {path.name for path in entries(out)} == {
        f"{name[0]}{rest}" for name in done for rest in ("_labels.tif", "_objects.geojson")
    }
    assert type(error) is NotFinished
    listed = ", ".join(str(folder / f"{name}.tif") for name in names)
    assert error.problem == f"{len(names)} of 5 files could not be predicted: {listed}"
    for name in names:
        assert caplog.text.count(f"{out / name}_objects.geojson: it has too many corners; save labels instead") == 1


def test_where_no_results_can_be_held_the_first_error_is_the_answer(folder, one, narrow, caplog):
    narrow("abcde")
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "geojson"))
    assert not names
    assert error.problem == "it has too many corners (so none of the 5 files could be predicted)"
    assert error.where.endswith("a_objects.geojson")
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", [NotWritten, NotWritable, InUse])
def test_what_is_wrong_with_the_folder_ends_the_work(folder, one, narrow, kind):
    narrow("b", kind("no results can be written there", "choose another folder"))
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "geojson"))
    assert names == ["a.tif"]
    assert type(error) is kind
    assert str(error) == "no results can be written there; choose another folder"


def test_a_frame_of_another_size_costs_itself_alone(tmp_path):
    model = make_model(UNetConfig(width=2, depth=1), task="objects", class_values=())
    for number, shape in enumerate([(24, 32), (20, 30), (24, 32)]):
        tifffile.imwrite(tmp_path / f"t{number:03d}.tif", noise(shape))
    names, error = predicted(predictor(model), tmp_path, tmp_path / "out", products=("labels", "ctc"))
    assert names == ["t000.tif", "t002.tif"]
    assert error.problem == f"1 of 3 files could not be predicted: {tmp_path / 't001.tif'}"
    [result] = (tmp_path / "out").glob("*_RES")
    assert [path.name for path in entries(result)] == ["mask000.tif", "mask002.tif", "res_track.txt"]
    assert not (tmp_path / "out" / "t001_labels.tif").exists()


class Gone:
    """Workers of which none is left."""

    def each(self, function, items, *, name):
        raise NotFinished("there was no worker for 60 s", "start some, then run it again", where="tcp://node3:8786")


def test_workers_that_are_gone_end_the_work_and_what_was_begun_stays(folder, one):
    names, error = predicted(one, folder, folder.parent / "out", work=Gone())
    assert not names
    assert str(error) == "tcp://node3:8786: there was no worker for 60 s; start some, then run it again"
    assert (folder.parent / "out" / ".a.contractile-work" / "plan.json").exists()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (lambda: OutOfMemory("memory is full", "use smaller tiles"), True),
        (lambda: unreadable(OSError("the share is gone")), True),
        (lambda: unreadable(ValueError("the file is cut off")), False),
    ],
)
def test_blocks_are_kept_where_another_try_may_go_on(tmp_path, one, monkeypatch, error, kept):
    """Of four blocks, the third fails; without it the first two would be done again."""
    monkeypatch.setitem(grid.BLOCK, 2, (16, 16))
    monkeypatch.setattr(unfinished, "IN_MEMORY", 0)
    tifffile.imwrite(tmp_path / "a.tif", noise((32, 32)))
    compute, done = blocks.Segmented.compute, []

    def fail(self, number):
        if number == 2:
            raise error()
        done.append(number)
        return compute(self, number)

    monkeypatch.setattr(blocks.Segmented, "compute", fail)
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out")[1] is not None
    assert (tmp_path / "out" / ".a.contractile-work" / "plan.json").exists() == kept
    monkeypatch.setattr(blocks.Segmented, "compute", lambda self, n: done.append(n) or compute(self, n))
    again = predicted(one, tmp_path / "a.tif", tmp_path / "out", resume=True)
    assert again == (["a.tif"], None)
    assert done == [0, 1, *([2, 3] if kept else [0, 1, 2, 3])]


def unreadable(cause):
    error = ContractileError("cannot be read", "try again")
    error.__cause__ = cause
    return error


def test_progress_is_of_files_that_are_predicted(folder, one):
    damage(folder / "a.tif")
    seen = []
    predicted(one, folder, folder.parent / "out", progress=lambda *told: seen.append(told))
    assert seen == [(f"{name}.tif", 1, 1) for name in "bcde"]


# channels ---------------------------------------------------------------------------------------


def test_grey_stored_as_colour_is_grey(folder, one, caplog):
    (folder.parent / "out").mkdir()
    for name in "abc":
        grey = read(folder / f"{name}.tif").pixels[0]
        tifffile.imwrite(folder / f"{name}.tif", np.stack([grey] * 3, axis=-1), photometric="rgb")
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "probabilities"))
    assert (len(names), error) == (5, None)
    alone = one.segment(noise(seed=0))
    np.testing.assert_array_equal(read_labels(folder.parent / "out" / "a_labels.tif"), alone)
    assert caplog.text.count("is grey, stored as colour: one of its equal channels is taken") == 1


def test_grey_pages_stored_as_colour_are_grey(tmp_path, one):
    pages = np.stack([noise(seed=page) for page in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", np.stack([pages] * 3, -1), photometric="rgb", metadata={"axes": "TYXS"})
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out") == (["a.tif"], None)
    labels = tifffile.imread(tmp_path / "out" / "a_labels.tif")
    np.testing.assert_array_equal(labels, [one.segment(page) for page in pages])


def test_a_model_of_colour_gets_colour(tmp_path):
    colour = predictor(make_model(UNetConfig(width=2, depth=1, channels=3)))
    tifffile.imwrite(tmp_path / "a.tif", np.stack([noise()] * 3, axis=-1), photometric="rgb")
    assert predicted(colour, tmp_path / "a.tif", tmp_path / "out") == (["a.tif"], None)


@pytest.mark.parametrize(
    ("channels", "axes", "wanted", "cure"),
    [
        (3, "YXS", 1, "save the channel that shows the objects as a file of its own, or convert the picture to grey"),
        (2, "CYX", 1, "save the channel that shows the objects as a file of its own; where the axes were misread"),
        (1, "YX", 3, r"give images with the 3 channels that it was trained on; .* name them \(--axes\)"),
        (5, "CYX", 2, "give images with the 2 channels that it was trained on"),
    ],
)
def test_an_image_of_other_channels_is_named(tmp_path, channels, axes, wanted, cure):
    model = predictor(make_model(UNetConfig(width=2, depth=1, channels=wanted)))
    shape = tuple({"Y": 24, "X": 32}.get(axis, channels) for axis in axes)
    colour = {"photometric": "rgb" if "S" in axes else "minisblack", "metadata": {"axes": axes}}
    tifffile.imwrite(tmp_path / "a.tif", noise(shape), **colour)
    with pytest.raises(
        ContractileError,
        match=rf"a\.tif: the image has {channels} channel\(s\), but the model takes {wanted}; {cure}",
    ):
        list(predict_files(model, tmp_path / "a.tif", out=tmp_path / "out"))


def test_axes_are_those_of_the_call_or_of_the_model(tmp_path):
    image = noise((24, 32, 5))
    np.save(tmp_path / "a.npy", image)
    config = UNetConfig(width=2, depth=1, channels=5)
    expected = predictor(make_model(config)).segment(np.moveaxis(image, -1, 0))
    for model, given in ((make_model(config, axes="YXC"), None), (make_model(config, axes="CYX"), "YXC")):
        assert predicted(predictor(model), tmp_path / "a.npy", tmp_path / "out", axes=given) == (["a.npy"], None)
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / "a_labels.tif"), expected)
    grey = predictor(make_model(UNetConfig(width=2, depth=1)))
    assert predicted(grey, tmp_path / "a.npy", tmp_path / "out", axes="YXT") == (["a.npy"], None)
    with tifffile.TiffFile(tmp_path / "out" / "a_labels.tif") as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TYX", (5, 24, 32))


# lists of files ---------------------------------------------------------------------------------


def test_files_as_a_shell_lists_them(folder, one):
    files = sorted(folder.glob("*.tif"))
    assert predicted(one, [str(path) for path in files], folder.parent / "out") == ([*(p.name for p in files)], None)


def test_a_file_that_is_named_twice_is_predicted_once(folder, one):
    places = [folder / ".." / "in" / "a.tif", folder, folder / "a.tif", str(folder / "*.tif")]
    assert predicted(one, places, folder.parent / "out") == ([f"{name}.tif" for name in "abcde"], None)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{0}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCTZ" Type="uint8" SizeX="32" SizeY="24" SizeC="1" SizeT="2"
SizeZ="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5" TimeIncrement="30"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData FirstT="0" IFD="0" PlaneCount="1"><UUID FileName="s_0.ome.tif">urn:uuid:0</UUID></TiffData>
<TiffData FirstT="1" IFD="0" PlaneCount="1"><UUID FileName="s_1.ome.tif">urn:uuid:1</UUID></TiffData>
</Pixels></Image></OME>"""


def write_set(folder):
    """A time series of two frames in two files."""
    for number in range(2):
        tifffile.imwrite(
            folder / f"s_{number}.ome.tif", noise(seed=number), description=OME.format(number), metadata=None
        )


def test_a_set_of_files_is_one_image(folder, one):
    write_set(folder)
    files = sorted(folder.glob("*.tif"))
    names, error = predicted(one, files, folder.parent / "out")
    assert (names, error) == (["a.tif", "b.tif", "c.tif", "d.tif", "e.tif", "s_0.ome.tif"], None)
    path = folder.parent / "out" / "s_0_labels.tif"
    assert find(path)[0].stack == Stack("T", (2,), 30.0)
    np.testing.assert_array_equal(tifffile.imread(path), [one.segment(noise(seed=number)) for number in range(2)])


def test_a_set_with_a_file_missing_does_not_stop_the_others(folder, one):
    write_set(folder)
    (folder / "s_1.ome.tif").unlink()
    names, error = predicted(one, folder, folder.parent / "out")
    assert names == ["a.tif", "b.tif", "c.tif", "d.tif", "e.tif"]
    assert error.problem == f"1 of 6 files could not be predicted: {folder / 's_0.ome.tif'}"


def test_two_formats_of_one_name_are_refused(folder, one):
    np.save(folder / "b.npy", noise())
    with pytest.raises(ContractileError, match=r"images must have different names, got .*b\.npy and .*b\.tif"):
        list(predict_files(one, folder, out=folder.parent / "out"))
    assert not (folder.parent / "out").exists()


def test_earlier_results_are_left_out_before_they_are_opened(folder, one, caplog):
    (folder / "a_labels.tif").write_bytes(b"")
    (folder / "b_0003_overlay.png").write_bytes(b"")
    (folder / "other_overlay.png").write_bytes(b"")
    names, error = predicted(one, folder, folder, products=("probabilities",))
    assert names == [f"{name}.tif" for name in "abcde"]
    assert error.problem == f"1 of 6 files could not be predicted: {folder / 'other_overlay.png'}"
    assert "2 earlier result(s)" in caplog.text


# stacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "TZYX", "ZTYX", "PTYX", "QYX", "PYX"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_results_of_a_stack_have_its_axes(tmp_path, one, axes, dtype):
    lengths = (2, 3)[-(len(axes) - 2) :]
    frames = noise((*lengths, 16, 16)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", metadata={"axes": axes})
    products = ("labels", "probabilities")
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out", products=products) == (["a.tif"], None)
    for product, letters, channels in (("labels", axes, ()), ("probabilities", f"{axes[:-2]}CYX", (2,))):
        with tifffile.TiffFile(tmp_path / "out" / f"a_{product}.tif") as tiff:
            [series] = tiff.series
            assert (series.axes, series.shape) == (letters, (*lengths, *channels, 16, 16))
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out" / "a_labels.tif").reshape(-1, 16, 16),
        [one.segment(page) for page in frames.reshape(-1, 16, 16)],
    )


def test_results_of_a_stack_know_what_it_knew(tmp_path, one):
    known = {"axes": "TZYX", "unit": "um", "finterval": 60.0, "spacing": 2.5}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 3, 16, 16)), imagej=True, resolution=(4, 2), metadata=known)
    products = ("labels", "probabilities")
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out", products=products) == (["a.tif"], None)
    for product in products:
        path = tmp_path / "out" / f"a_{product}.tif"
        with tifffile.TiffFile(path) as tiff:
            meta = tiff.imagej_metadata
            assert {name: meta.get(name) for name in known} == {**known, "axes": None}
            assert (meta["frames"], meta["slices"]) == (2, 3)
        assert find(path)[0].stack == find(tmp_path / "a.tif")[0].stack == Stack("TZ", (2, 3), 60.0, 2.5)
        assert read(find(path)[5]).pixel_size_um == (0.5, 0.25)


def test_results_of_ome_tiff_are_ome_tiff_where_imagej_cannot_hold_them(tmp_path, one):
    known = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 500.0, "PhysicalSizeYUnit": "nm"}
    known |= {"PhysicalSizeZ": 2.0, "TimeIncrement": 1.5, "TimeIncrementUnit": "min"}
    frames = noise((3, 2, 16, 16))
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, photometric="minisblack", metadata={"axes": "ZTYX", **known})
    assert predicted(one, tmp_path / "a.ome.tif", tmp_path / "out") == (["a.ome.tif"], None)
    with tifffile.TiffFile(tmp_path / "out" / "a_labels.tif") as tiff:
        assert tiff.series[0].axes == "ZTYX"
        for text in ('PhysicalSizeX="0.25"', 'PhysicalSizeY="0.5"', 'PhysicalSizeZ="2.0"', 'TimeIncrement="90.0"'):
            assert text in tiff.ome_metadata


def test_positions_with_pixels_of_their_own_stay_apart(tmp_path, one):
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        for size in (0.5, 0.25):
            known = {"axes": "TYX", "PhysicalSizeX": size, "PhysicalSizeY": size}
            writer.write(noise((3, 16, 16)), photometric="minisblack", metadata=known)
    products = ("labels", "objects")
    one = predictor(make_model(UNetConfig(width=2, depth=1), task="objects", class_values=()))
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out", products=products) == (["a.tif"], None)
    pages = find(tmp_path / "out" / "a_labels.tif")
    assert [read(page).pixel_size_um for page in pages] == [(0.5, 0.5)] * 3 + [(0.25, 0.25)] * 3
    with tifffile.TiffFile(tmp_path / "out" / "a_labels.tif") as tiff:
        assert [(one.axes, one.shape) for one in tiff.series] == [("TYX", (3, 16, 16))] * 2


def test_volumes_over_time(tmp_path):
    one = predictor(make_model(UNetConfig(dims=3, width=2, depth=1)))
    known = {"axes": "TZYX", "unit": "um", "finterval": 60.0, "spacing": 2.5}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 5, 16, 16)), imagej=True, resolution=(2, 2), metadata=known)
    products = ("labels", "probabilities")
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out", products=products) == (["a.tif"], None)
    for product in products:
        [first, _] = find(tmp_path / "out" / f"a_{product}.tif", dims=3)
        assert first.stack == Stack("T", (2,), 60.0)
        assert read(first, dims=3).pixel_size_um == (2.5, 0.5, 0.5)


def test_the_table_of_a_stack_names_its_axes(tmp_path):
    one = predictor(make_model(UNetConfig(width=2, depth=1), task="objects", class_values=()))
    frames = noise((2, 3, 16, 16))
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", metadata={"axes": "TZYX"})
    assert predicted(one, tmp_path / "a.tif", tmp_path / "out", products=("labels", "objects")) == (["a.tif"], None)
    labels = tifffile.imread(tmp_path / "out" / "a_labels.tif")
    with (tmp_path / "out" / "a_objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["page", "t", "z", "id"]
    assert len(rows) == labels.max(axis=(2, 3)).sum() > 0
    for row in rows:
        t, z = int(row["t"]), int(row["z"])
        assert int(row["page"]) == 3 * t + z
        assert int(row["area_px"]) == (labels[t, z] == int(row["id"])).sum()


def channels(folder, cases):
    for case in cases:
        for number in range(2):
            tifffile.imwrite(folder / f"{case}_{number:04d}.tif", noise(seed=number), compression="zlib")


def test_channels_in_files_of_their_own_are_one_image(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    channels(tmp_path / "in", "abc")
    two = predictor(make_model(UNetConfig(width=2, depth=1, channels=2), class_values=(0, 255)))
    names, error = predicted(two, tmp_path / "in", tmp_path / "out", products=("labels", "overlay"))
    assert (names, error) == (["a_0000.tif", "b_0000.tif", "c_0000.tif"], None)
    together = read_labels(tmp_path / "out" / "b_labels.tif")
    assert len(entries(tmp_path / "out")) == 6
    tifffile.imwrite(tmp_path / "whole.tif", np.stack([noise(), noise(seed=1)]), metadata={"axes": "CYX"})
    predicted(two, tmp_path / "whole.tif", tmp_path / "out")
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "whole_labels.tif"), together)
    # results beside the images, and a channel that cannot be opened
    write_nothing(tmp_path / "in" / "b_0001.tif")
    for _ in range(2):
        names, error = predicted(two, tmp_path / "in", tmp_path / "in")
        assert names == ["a_0000.tif", "c_0000.tif"]
        assert str(error).startswith(f"1 of 3 files could not be predicted: {tmp_path / 'in' / 'b_0000.tif'};")


def test_channels_for_a_model_of_one_are_said(tmp_path, one, caplog):
    channels(tmp_path, "ab")
    names, error = predicted(one, tmp_path, tmp_path / "out")
    assert (len(names), error) == (4, None)
    assert [line for line in caplog.messages if "channels of an image" in line] == [
        "a_0000.tif and 3 more: named like the 2 channels of an image, each is taken for an image "
        "(the model takes 1 channel(s))"
    ]


def test_labels_beside_images_are_not_predicted(folder, one, caplog):
    for name in "ab":
        tifffile.imwrite(folder / f"{name}_cp_masks.tif", noise())
    names, error = predicted(one, folder, folder.parent / "out")
    assert (names, error) == ([f"{name}.tif" for name in "abcde"], None)
    assert "a_cp_masks.tif and 1 more: left out, since they are named like labels" in caplog.text


def test_folders_for_each_image(folder, one):
    for name in "ab":
        for side, file in (("images", name), ("masks", "x")):
            (folder.parent / "set" / name / side).mkdir(parents=True)
            tifffile.imwrite(folder.parent / "set" / name / side / f"{file}.tif", noise())
    assert predicted(one, folder.parent / "set", folder.parent / "out") == (["a.tif", "b.tif"], None)


# values that cannot be meant --------------------------------------------------------------------


@pytest.mark.parametrize("value", [3e38, -1e30, 1e9, -1e8])
def test_an_absurd_value_is_said_and_changes_nothing(folder, one, caplog, value):
    clean = noise((40, 50)).astype(np.float32)
    spoiled = clean.copy()
    spoiled[0, 0] = value
    for name, pixels in (("a", clean), ("b", spoiled), ("c", spoiled)):
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    names, error = predicted(one, folder, folder.parent / "out", products=("labels", "overlay"))
    assert (len(names), error) == (5, None)
    said = "values far beyond all others, which no camera gives (`contractile check` names them)"
    assert [line for line in caplog.messages if "camera" in line] == [f"b.tif: {said}", f"c.tif, too: {said}"]
    assert np.mean(one.segment(clean) == read_labels(folder.parent / "out" / "b_labels.tif")) > 0.99


@pytest.mark.parametrize(
    ("pixels", "absurd"),
    [
        (np.r_[np.zeros(9999), 5e4].astype(np.float32), False),  # a star
        (np.r_[np.arange(9999), 65535].astype(np.uint16), False),  # a hot pixel
        (np.r_[np.arange(9999) % 5, 65535].astype(np.float32), False),
        (np.r_[np.arange(9999) % 5, 2**32 - 1].astype(np.uint32), True),
        (np.r_[np.arange(9999) % 5, -9e9].astype(np.float64), True),
        (np.r_[np.zeros(9999), 3e38].astype(np.float32), True),
        (np.full(10000, 1e35), False),
        (np.linspace(0, 3e38, 10000), False),  # in strange units, but of one kind
        (np.zeros((0,), np.float32), False),
    ],
)
def test_which_values_are_absurd(pixels, absurd):
    assert has_absurd_value(pixels[None]) is absurd
    assert has_absurd_value(np.stack([np.zeros_like(pixels), pixels])) is absurd


# volumes ----------------------------------------------------------------------------------------


@pytest.fixture
def volumes():
    return predictor(make_model(UNetConfig(width=2, depth=1, dims=3), class_values=(0, 255)))


def kept_of(path):
    """Axes, shape, sizes along Z, Y, X and time between frames that another reader finds in a file."""
    with open_rasters(path, dims=3) as rasters:
        return [
            (one.axes, one.lengths, tuple(one.scale.get(axis) for axis in "ZYX"), one.interval_s) for one in rasters
        ]


@pytest.mark.parametrize(
    ("axes", "shape", "metadata", "wanted"),
    [
        ("TYX", (5, 20, 24), {"finterval": 30.0, "unit": "um"}, ("TYX", (5, 20, 24), (None, 0.5, 0.25), 30.0)),
        ("ZYX", (5, 20, 24), {"unit": "um"}, ("ZYX", (5, 20, 24), (None, 0.5, 0.25), None)),
        ("ZYX", (5, 20, 24), {"unit": "um", "spacing": 2.0}, ("ZYX", (5, 20, 24), (2.0, 0.5, 0.25), None)),
        (
            "TZYX", (2, 5, 20, 24), {"unit": "um", "spacing": 2.0, "finterval": 60.0},
            ("TZYX", (2, 5, 20, 24), (2.0, 0.5, 0.25), 60.0),
        ),
        ("TZYX", (2, 5, 20, 24), {"finterval": 60.0, "unit": "um"}, ("TZYX", (2, 5, 20, 24), (None, 0.5, 0.25), 60.0)),
    ],
)  # fmt: skip
def test_results_of_volumes_keep_axes_sizes_and_times(tmp_path, volumes, axes, shape, metadata, wanted):
    pixels = noise(shape)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 2), metadata={"axes": axes, **metadata})
    products = ("labels", "probabilities", "overlay")
    assert predicted(volumes, tmp_path / "a.tif", tmp_path / "out", products=products) == (["a.tif"], None)
    assert kept_of(tmp_path / "out" / "a_labels.tif") == [wanted]
    letters, lengths, *rest = wanted
    places = letters.replace("YX", "CYX"), (*lengths[:-2], 2, *lengths[-2:])
    assert kept_of(tmp_path / "out" / "a_probabilities.tif") == [(*places, *rest)]
    each = pixels.reshape(-1, *pixels.shape[-3:])
    found = find(tmp_path / "out" / "a_labels.tif", dims=3), find(tmp_path / "out" / "a_probabilities.tif", dims=3)
    for volume, labels, maps in zip(each, *found, strict=True):
        np.testing.assert_array_equal(read_labels(labels, dims=3), volumes.segment(volume))
        wanted_maps = np.asarray(volumes.probabilities(volume))
        np.testing.assert_allclose(read_probabilities(maps, dims=3), wanted_maps, atol=1e-6)


def test_results_of_volumes_of_ome_tiff(tmp_path, volumes):
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "TimeIncrement": 7.0}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for number, (axes, shape) in enumerate((("ZYX", (5, 20, 24)), ("TYX", (6, 20, 24)), ("ZYX", (5, 16, 18)))):
            depth = {"PhysicalSizeZ": 0.5} if number == 0 else {}
            writer.write(noise(shape), photometric="minisblack", metadata={"axes": axes, **sizes, **depth})
    assert predicted(volumes, tmp_path / "a.ome.tif", tmp_path / "out")[1] is None
    found = [kept_of(tmp_path / "out" / f"a_000{number}_labels.tif")[0] for number in range(3)]
    assert [(axes, lengths) for axes, lengths, *_ in found] == [
        ("ZYX", (5, 20, 24)), ("TYX", (6, 20, 24)), ("ZYX", (5, 16, 18))
    ]  # fmt: skip
    assert [size for _, _, size, _ in found] == [
        pytest.approx((0.5, 0.2, 0.1)), (None, *map(pytest.approx, (0.2, 0.1))), (None, *map(pytest.approx, (0.2, 0.1)))
    ]  # fmt: skip
    assert [interval for *_, interval in found] == [None, 7.0, None]


def test_results_of_volumes_that_are_alike(tmp_path, volumes):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for z in (0.5, 2.0):
            size = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": z}
            writer.write(noise((5, 20, 24)), photometric="minisblack", metadata={"axes": "ZYX", **size})
    assert predicted(volumes, tmp_path / "a.ome.tif", tmp_path / "out")[1] is None
    found = kept_of(tmp_path / "out" / "a_labels.tif")
    assert [(axes, lengths) for axes, lengths, *_ in found] == [("ZYX", (5, 20, 24))] * 2
    assert [size for _, _, size, _ in found] == [pytest.approx((0.5, 0.1, 0.1)), pytest.approx((2.0, 0.1, 0.1))]


def test_results_of_volumes_without_any_names(tmp_path, volumes):
    np.save(tmp_path / "a.npy", noise((5, 20, 24)))
    assert predicted(volumes, tmp_path / "a.npy", tmp_path / "out")[1] is None
    assert kept_of(tmp_path / "out" / "a_labels.tif") == [("ZYX", (5, 20, 24), (None, None, None), None)]
    assert predicted(volumes, tmp_path / "a.npy", tmp_path / "q", axes="QYX")[1] is None
    assert kept_of(tmp_path / "q" / "a_labels.tif") == [("QYX", (5, 20, 24), (None, None, None), None)]
