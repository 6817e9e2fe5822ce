"""What other tools are given and give back: objects as classes of pixels and back, pictures, rows, finished tools."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import peer_task  # noqa: E402
import peers  # noqa: E402

SQUARES = np.kron(np.array([[0, 1, 2], [3, 1, 2], [3, 0, 4]], np.int32), np.ones((9, 9), np.int32))


def test_touching_objects_come_back_from_classes():
    known = peer_task.Classes.of([SQUARES])
    classes = known.of_labels(SQUARES)
    assert known == (1, 40)
    assert set(np.unique(classes)) == {0, 1, 2}
    found = known.to_labels(classes)
    np.testing.assert_array_equal(found > 0, SQUARES > 0)
    pairs = {(int(one), int(other)) for one, other in zip(found.ravel(), SQUARES.ravel(), strict=True)}
    assert len(pairs) == 5  # each object has one number, and each number is one object


def test_a_border_has_the_thickness_on_each_side():
    row = peer_task.Classes(2, 1).of_labels(SQUARES)[13]
    np.testing.assert_array_equal(row[7:20], [2, 2, 2, 2, 1, 1, 1, 1, 1, 2, 2, 2, 2])


def test_an_object_that_is_all_border_is_inside_and_noise_goes():
    labels = np.zeros((12, 12), np.int32)
    labels[2:4, 2:4], labels[6:11, 6:11] = 1, 2
    classes = peer_task.Classes(1, 1).of_labels(labels)
    assert (classes[2:4, 2:4] == 1).all()
    assert peer_task.Classes(1, 1).to_labels(classes).max() == 2
    assert len(np.unique(peer_task.Classes(1, 5).to_labels(classes))) == 2


def test_stacks_and_pictures_become_plain_pages(tmp_path):
    stack = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "test_images.tif", stack)
    tifffile.imwrite(tmp_path / "train_labels.tif", np.where(stack > 5, 255, 0).astype(np.uint8))
    (tmp_path / "train_images").mkdir()
    Image.fromarray(stack[0]).save(tmp_path / "train_images" / "a.png")
    peers.write_plain(tmp_path, tmp_path / "plain")
    files = sorted(path.relative_to(tmp_path / "plain").as_posix() for path in (tmp_path / "plain").rglob("*.tif"))
    names = ("test_images/test_images_00", "test_images/test_images_01", "train_images/a")
    assert files == [f"{name}.tif" for name in (*names, "train_labels/train_labels_00", "train_labels/train_labels_01")]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "plain/train_images/a.tif"), stack[0])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "plain/train_labels/train_labels_00.tif"), stack[0] > 5)


@pytest.mark.parametrize(
    ("dataset", "found", "shown"),
    [
        ("dic-hela", {"seg": 0.71234}, "SEG 0.712"),
        ("isbi2012", {"v_rand": 0.5, "v_info": 0.25, "rand_error": 1.0}, "V_Rand 0.500, V_Info 0.250"),
        (
            "dsb2018",
            {"details": {"ap": {"iou": [0.5, 0.7, 0.75], "by_iou": [0.9, 0.8, 0.6]}}},
            "AP 0.5 0.900, AP 0.75 0.600",
        ),
    ],
)
def test_scores_are_shown(dataset, found, shown):
    assert peers.format_score(dataset, found) == shown


def test_finished_tools_are_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []
    cells = dict.fromkeys(peers.COLUMNS, 1.26) | {"note": "a|b"}
    monkeypatch.setattr(peers, "measure", lambda given, name: ran.append(name) or {**cells, "tool": name})
    given = argparse.Namespace(dataset="dic-hela", out=tmp_path, minutes=0.5)
    assert peers.compare(given, ["unet"]) == peers.compare(given, ["unet", "forest"]) == 0
    assert ran == ["unet", "forest"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"| {name} |{' 1.3 |' * 8} a\\|b |" for name in ran]
    assert {line.count("|") - line.count("\\|") for line in lines} == {len(peers.COLUMNS) + 1}


def test_an_environment_is_measured(tmp_path):
    place = tmp_path / "lib" / "python3.11" / "site-packages"
    (place / "one-1.0.dist-info").mkdir(parents=True)
    (place / "one.py").write_text("12345")
    (tmp_path / "link").symlink_to(place / "one.py")
    assert peers.measure_environment(tmp_path) == (5, 1)
