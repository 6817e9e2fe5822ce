"""The benchmarks' own arithmetic: ratios that fell are named, splits are contiguous, rows find their table."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import install  # noqa: E402
import ratios  # noqa: E402
import reading  # noqa: E402
import splits  # noqa: E402
import start  # noqa: E402


def test_a_ratio_that_fell_by_more_than_a_fifth_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ratios, "KNOWN", tmp_path / "ratios.toml")
    assert ratios.judge("speed", {"fast": 3.0, "slow": 1.0}, record=True)
    assert ratios.judge("other", {"fast": 9.0}, record=True)
    assert ratios.judge("speed", {"fast": 2.5, "slow": 1.1, "new": 0.1})
    assert "2 of 2 known ratios held" in capsys.readouterr().out
    assert not ratios.judge("speed", {"fast": 2.3, "slow": 1.0})
    said = capsys.readouterr().out
    assert "REGRESSED: speed: fast: ratio 2.30, was 3.00" in said
    assert "slow: ratio" not in said


def test_what_pytorch_alone_brings_does_not_count(capsys):
    packages = {
        "contractile": {"size": 1_000_000, "needs": ["torch", "numpy", "not-here"]},
        "numpy": {"size": 2_000_000, "needs": ["shared"]},
        "shared": {"size": 4_000_000, "needs": ["numpy"]},
        "torch": {"size": 8_000_000, "needs": ["shared", "cuda"]},
        "cuda": {"size": 16_000_000, "needs": []},
    }
    others = install.reached(packages, "contractile", without="torch")
    assert others == {"contractile", "numpy", "shared"}
    assert install.size_mb(packages, others) == 7
    old = install.Installed("3.11", packages, 31, 7)
    assert not install.has_grown(old, old)
    assert install.has_grown(install.Installed("3.11", packages, 33, 9), old)
    assert install.has_grown(install.Installed("3.11", {**packages, "new": {"size": 0, "needs": []}}, 31, 7), old)
    assert "packages that came: new; +0.0 MB" in capsys.readouterr().out


def test_starts_that_take_longer_than_promised_are_named():
    quick = {start.PREDICT: 2.0, start.HELP: 0.3, start.IMPORT: 0.1, "info IMAGE": 60.0}
    assert start.beyond(quick) == []
    assert start.beyond({**quick, start.HELP: 0.31, start.IMPORT: 0.2}) == [
        "--help: 0.310 s, at most 0.3 s are promised",
        "import contractile: 0.200 s, at most 0.1 s are promised",
    ]


def test_known_ratios_can_be_read():
    import tomllib

    known = tomllib.loads((BENCHMARKS / "ratios.toml").read_text())
    assert all(ratio > 0 for table in known.values() for ratio in table.values())


@pytest.mark.parametrize("sections", [24, 3])
def test_isbi_sections_are_learned_from_or_scored(tmp_path, sections):
    stack = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    for name in ("train-volume.tif", "train-labels.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack")
    out = tmp_path / "out"
    out.mkdir()
    splits.split_isbi2012(tmp_path, out, sections=sections)
    for kind in ("images", "labels"):
        assert tifffile.imread(out / f"train_{kind}.tif")[:, 0, 0].tolist() == list(range(24 - sections, 24))
        assert tifffile.imread(out / f"test_{kind}.tif")[:, 0, 0].tolist() == list(range(24, 30))


def test_frames_are_learned_from_or_scored(tmp_path):
    for folder, name in (("01", "t{:03}.tif"), ("01_ST/SEG", "man_seg{:03}.tif")):
        (tmp_path / folder).mkdir(parents=True)
        for frame in range(42):
            (tmp_path / folder / name.format(frame)).touch()
    splits.split_dic_hela(tmp_path, tmp_path / "out")
    for kind in ("images", "labels"):
        frames = {part: [int(path.stem[-3:]) for path in sorted((tmp_path / "out" / f"{part}_{kind}").iterdir())]
                  for part in ("train", "test")}  # fmt: skip
        assert frames == {"train": list(range(0, 29, 2)), "test": list(range(32, 42))}


def test_rows_are_added_to_their_table(tmp_path):
    accuracy = pytest.importorskip("accuracy")
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\n## Something else\n\n| a |\n|---|\n| 1 |\n")
    accuracy.add_row(results, "| first |")
    accuracy.add_row(results, "| second |")
    text = results.read_text()
    assert text.count(accuracy.HEADING) == 1
    assert text.index("| 1 |") < text.index(accuracy.HEADING) < text.index("| first |") < text.index("| second |")


def test_reading_is_measured_beside_others_and_an_earlier_state(capsys, monkeypatch):
    words = ["reading.py", "--side", "48", "--pages", "3", "--files", "2", "--runs", "2", "--against"]
    monkeypatch.setattr(reading, "SHORTEST_S", 0)
    monkeypatch.setattr(reading, "ALLOWED", 1000.0)
    monkeypatch.setattr(sys, "argv", [*words, str(BENCHMARKS.parent / "src")])
    with pytest.raises(SystemExit) as end:
        reading.main()
    said = capsys.readouterr().out
    assert said.count("\n| ") == len(reading.rows(3)) == 12
    assert all(f"\n| {name} | " in said for name in reading.rows(3))
    assert "| now / before |" in said
    assert end.value.code == (1 if "REGRESSED" in said else 0)


def test_reading_that_takes_more_than_a_tenth_longer_is_named():
    seconds = {"now": [1.0, 5.5, 3.0], "before": [1.0, 5.0, 2.0]}  # the load differs from run to run
    assert reading.ratio(seconds, "now", "before") == pytest.approx(1.1)
    assert reading.slower({"a": 1.09, "b": 1.11, "c": 0.5}) == ["b"]


def test_another_state_of_the_package_must_be_one(tmp_path):
    with pytest.raises(SystemExit, match="must be the src folder of a checkout, got"):
        reading.Reader(tmp_path, ["--serve", str(tmp_path)])
