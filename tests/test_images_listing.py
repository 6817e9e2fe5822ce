"""Which files are images where a folder or a pattern holds more: labels, by-products, folders for each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from contractile.errors import ContractileError
from contractile.images import find, leave_out_labels, list_image_files, named_files, stem

BESIDE = "left out, since they are named like labels of images beside them"
BY_PRODUCT = "left out, since such files hold neither images nor labels"
IN_FOLDERS = "left out, since they lie in folders of labels"
TAKEN = "taken, since they lie in folders of images; other files are not"


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("_seg.npy"):
            np.save(path, np.array({"masks": 1}, dtype=object), allow_pickle=True)
        else:
            tifffile.imwrite(path.with_suffix(".tif"), np.eye(4, dtype=np.uint8))
            path.with_suffix(".tif").rename(path)


def images_at(*places: Path | str) -> list[str]:
    return [file.name for file in leave_out_labels(list_image_files(list(places)), named=named_files(list(places)))]


@pytest.mark.parametrize("pattern", ["exp [1]/*.tif", "exp [1]/**/*.tif", "*/a*.tif", "exp*/a*"])
@pytest.mark.parametrize("from_root", [True, False])
def test_a_folder_with_brackets_before_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, from_root: bool
) -> None:
    write(tmp_path / "exp [1]", "a [x].tif")
    monkeypatch.chdir(tmp_path)
    assert [one.name for one in find(tmp_path / pattern if from_root else pattern)] == ["a [x]"]


def test_folders_keep_what_looks_like_a_suffix(tmp_path: Path) -> None:
    for name in ("plate_2024.05", "plate_2024.06", "a.zarr", "b.ome.zarr"):
        (tmp_path / name).mkdir()
    names = {path.name: stem(path) for path in tmp_path.iterdir()}
    assert names == {
        "plate_2024.05": "plate_2024.05",
        "plate_2024.06": "plate_2024.06",
        "a.zarr": "a",
        "b.ome.zarr": "b",
    }
    assert stem(Path("c.ome.tif")) == "c"


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (["cp_masks.png", "flows.tif", "outlines.png", "seg.npy"], ["skipped: Cellpose", BY_PRODUCT, BESIDE]),
        (["flows_cp_masks.tif", "outlines_cp_masks.png", "cp_output.png"], [BY_PRODUCT]),
        (["Simple Segmentation.tif", "Object Identities.tif", "Probabilities.tif"], [BY_PRODUCT, BESIDE]),
        (["labels.tif", "probabilities.tif", "overlay.png"], [BY_PRODUCT, BESIDE]),
        (["mask.png"], [BESIDE]),
    ],
)
def test_labels_and_by_products_beside_images(
    tmp_path: Path, beside: list[str], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        write(tmp_path, f"{name}.tif", *(f"{name}_{one}" for one in beside))
    assert images_at(tmp_path) == ["a.tif", "b.tif"]
    assert images_at(f"{tmp_path}/*.*") == ["a.tif", "b.tif"]
    assert images_at(*sorted(tmp_path.iterdir())) == ["a.tif", "b.tif"]
    assert len(caplog.messages) == len(said)
    assert all(one in line for one, line in zip(said, caplog.messages, strict=True))


def test_pictures_of_the_pages_of_a_stack_are_no_images(tmp_path: Path) -> None:
    write(tmp_path, "a.tif", "a_0000_overlay.png", "a_0001_overlay.png", "b_0000_overlay.png")
    assert images_at(tmp_path) == ["a.tif", "b_0000_overlay.png"]


def test_labels_of_channels(tmp_path: Path) -> None:
    write(tmp_path, "a_0000.tif", "a_0001.tif", "a_labels.tif", "a_overlay.png")
    assert images_at(tmp_path) == ["a_0000.tif", "a_0001.tif"]


@pytest.mark.parametrize(
    "names",
    [
        ["a_mask.tif"],
        ["a_mask.tif", "b_mask.tif"],
        ["a.tif", "b_mask.tif"],
        ["lab/a.tif", "exp/b.tif"],
        ["x/a.tif", "y/b.tif"],
    ],
    ids=["one file", "labels alone", "of another image", "a laboratory", "two folders"],
)
def test_what_stays(tmp_path: Path, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *names)
    assert images_at(*(tmp_path / name for name in names)) == [Path(name).name for name in names]
    assert caplog.messages == []


TREES = {
    "Data Science Bowl 2018": (["0a/images/0a.png", "1b/images/1b.png"], ["0a/masks/x.png", "0a/masks/y.png"]),
    "no labels": (["0a/images/0a.png", "1b/images/1b.png"], []),
    "deeper": (["stage1_train/0a/images/0a.png"], ["stage1_train/0a/masks/x.png"]),
    "nnU-Net": (["imagesTr/a_0000.tif", "imagesTs/b_0000.tif"], ["labelsTr/a.tif"]),
    "StarDist": (["train/images/a.tif", "test/images/b.tif"], ["train/masks/a.tif", "test/masks/b.tif"]),
    "x and y": (["x/a.tif", "x/b.tif"], ["y/a.tif", "y/b.tif"]),
}


@pytest.mark.parametrize("tree", TREES)
def test_folders_of_images_and_of_labels(tmp_path: Path, tree: str, caplog: pytest.LogCaptureFixture) -> None:
    images, labels = TREES[tree]
    write(tmp_path, *images, *labels)
    names = sorted(Path(name).name for name in images)
    assert sorted(images_at(tmp_path)) == names
    assert [line.split(": ", 1)[1] for line in caplog.messages] == [TAKEN]
    caplog.clear()
    assert sorted(images_at(f"{tmp_path}/**/*.*")) == names
    said = [line.split(": ", 1)[1] for line in caplog.messages]
    assert [line.partition(" (")[0] for line in said] == ([IN_FOLDERS] if labels else [])
    assert all(str(tmp_path / Path(labels[0]).parent) in line for line in said)
    assert len(images_at(tmp_path / Path(images[0]).parent)) == len(
        [name for name in images if Path(name).parent == Path(images[0]).parent]
    )


def test_files_that_are_named_one_by_one_stay_where_one_letter_is_against_them(tmp_path: Path) -> None:
    names = ["x/a.tif", "x/b.tif", "y/a.tif", "y/b.tif"]
    write(tmp_path, *names)
    assert images_at(*(tmp_path / name for name in names)) == ["a.tif", "b.tif", "a.tif", "b.tif"]
    assert images_at(tmp_path / "x", tmp_path / "y") == ["a.tif", "b.tif"]
    write(tmp_path, "masks/c.tif")
    assert images_at(tmp_path / names[0], tmp_path / "masks" / "c.tif") == ["a.tif"]


def test_other_folders_are_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "monday/a.tif", "tuesday/b.tif")
    with pytest.raises(ContractileError, match=r"no image in it, only folders \(monday, tuesday\); give one of those"):
        list_image_files(tmp_path)
    assert images_at(tmp_path / "monday", tmp_path / "tuesday") == ["a.tif", "b.tif"]
    assert [source.name for source in find(list_image_files(tmp_path / "monday"))] == ["a"]
