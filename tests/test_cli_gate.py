"""The gate on the command line: --max-pixels, --allow-missing, and names of files that steer a terminal."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import typer
import zarr

from contractile.cli import app, main
from contractile.cli.display import Bar, visible
from contractile.errors import ContractileError
from contractile.images.gate import Limits, limits

VERBS = ("train", "predict", "evaluate", "check", "info")


def run(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) + 1
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", tile=(32, 32), metadata=None)
    return tmp_path / "a.tif"


def test_max_pixels(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ContractileError, match=r"a tile of it has 32 x 32 pixels; .* --max-pixels 1024"):
        run("info", tiles, "--max-pixels", 1023)
    assert limits() == Limits()
    run("info", tiles, "--max-pixels", 1024)
    assert capsys.readouterr().out.startswith("a.tif: 64 x 64 pixels")
    assert limits() == Limits()


def test_max_pixels_below_one(tiles: Path) -> None:
    with pytest.raises(ContractileError, match="--max-pixels must be at least 1, got 0; leave it out"):
        run("info", tiles, "--max-pixels", 0)


def test_allow_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((32, 32), np.uint8), chunks=(16, 16))
    (tmp_path / "a.zarr" / "c" / "0" / "0").unlink()
    with pytest.raises(ContractileError, match=r"1 of its 4 chunks are missing \(25% of it\).*--allow-missing"):
        run("info", tmp_path / "a.zarr")
    run("info", tmp_path / "a.zarr", "--allow-missing")
    shown = capsys.readouterr()
    assert "32 x 32 pixels, 1 channel(s), uint8, 0 to 1" in shown.out
    assert "0 is read in their place" in shown.err
    assert limits() == Limits()


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_that_reads_images_has_both(verb: str) -> None:
    [command] = [one for name, one in typer.main.get_command(app).commands.items() if name == verb]  # type: ignore[attr-defined]
    options = {option for one in command.params for option in one.opts}
    assert {"--max-pixels", "--allow-missing"} <= options


# names of files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.tif: µ, é, 中 [/b]", "a.tif: µ, é, 中 [/b]"),
        ("a\x1b[31m\nb\r\x07\x9b", r"a\x1b[31m\nb\r\x07\x9b"),
        ("a\u202etxt.exe\u2066", r"a\u202etxt.exe\u2066"),
        ("a\udcff", r"a\udcff"),
    ],
)
def test_what_steers_a_terminal_is_shown_with_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("name", ["a\x1b[31mb.tif", "a\nb.tif", "a\udcffb.tif", "a\u202eb.tif"])
def test_names_are_never_printed_raw(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = os.fsencode(name)
    for one in (b"good", bad):
        folder = tmp_path / os.fsdecode(one.replace(b".tif", b""))
        folder.mkdir()
        (folder / name).write_bytes(b"II*\0\x08\0\0\0")
        tifffile.imwrite(str(tmp_path / "x.tif"), np.ones((4, 5), np.uint8))
        (tmp_path / "x.tif").rename(folder / f"2{name}")
    for words in (["info", str(tmp_path / name[:-4])], ["check", str(tmp_path / name[:-4])]):
        monkeypatch.setattr("sys.argv", ["contractile", *words])
        with pytest.raises(SystemExit):
            main()
        shown = capsys.readouterr()
        for line in (shown.out + shown.err).split("\n"):
            assert visible(line) == line
        assert "Traceback" not in shown.err


def test_brackets_have_no_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("tiles") as bar:
        bar.announce("a[/b].tif")
        bar.show("[/c].tif", 1, 1)
    assert "a[/b].tif" in capsys.readouterr().err


def test_the_log_is_one_line_for_each_remark(capsys: pytest.CaptureFixture[str]) -> None:
    from contractile.cli.display import Lines

    record: dict[str, Any] = {"level": logging.WARNING, "pathname": "", "lineno": 0, "exc_info": None, "name": "a"}
    Lines(False).emit(logging.LogRecord(msg="%s: one\nline", args=("a\x1b[0m.tif",), **record))
    assert capsys.readouterr().err == r"a\x1b[0m.tif: one\nline" + "\n"
