"""The one tuple of formats: everything about formats comes from it, and the page of formats says what it says."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from makers_files import czi_block, lif_image, pixels, write_czi, write_lif, write_oib, write_oif

from contractile.errors import ContractileError
from contractile.images import find, list_files, read
from contractile.images.formats import SUPPORTED, kind_of
from contractile.images.known import BY_NAME, FORMATS, SUFFIXES, table_rows

ROOT = Path(__file__).parents[1]


def page_writer() -> Any:
    spec = importlib.util.spec_from_file_location("formats_page", ROOT / "docs" / "formats.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_formats_is_up_to_date() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert page_writer().page(page) == page, "run python docs/formats.py"
    assert all(f"| {row[0]} |" in page for row in table_rows())


def test_every_opener_is_there_and_every_suffix_has_one() -> None:
    for one in FORMATS:
        if one.opens is not None:
            assert callable(one.opens.find())
        if one.opened_as is not None:
            assert BY_NAME[one.opened_as].opens is not None
        assert one.suffixes == tuple(suffix.lower() for suffix in one.suffixes)
    assert all(BY_NAME[name].opens for name in SUFFIXES.values())
    assert len(BY_NAME) == len(FORMATS)


def test_every_extra_is_one_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {one.extra for one in FORMATS if one.extra}
    assert named <= extras.keys()
    [collected] = extras["formats"]
    readers = {one.extra for one in FORMATS if one.extra and (one.opens or one.opened_as)}
    assert set(re.findall(r"\w+", collected)) - {"contractile"} == readers


def test_a_folder_lists_files_of_every_format(tmp_path: Path) -> None:
    for suffix in SUPPORTED:
        if suffix != ".zarr":
            (tmp_path / f"a{suffix}").write_bytes(b"content")
    (tmp_path / "a.txt").write_text("no image")
    assert {path.suffix for path in list_files(tmp_path)} == {*SUPPORTED} - {".zarr"}


def test_the_error_for_an_unknown_format_names_all(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(bytes(range(128, 250)))
    with pytest.raises(ContractileError, match=re.escape(f"the formats read are {' '.join(SUFFIXES)}: convert it")):
        find(tmp_path / "a.xyz")


def test_the_content_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = pixels(12, 16)
    write_czi(tmp_path / "a.czi", [czi_block(values)])
    write_lif(tmp_path / "b.lif", lif_image("one", "YX", values))
    write_oib(tmp_path / "c.oib", values[None], "C")
    tifffile.imwrite(tmp_path / "d.tif", values)
    for path in sorted(tmp_path.iterdir()):
        kind = kind_of(path)
        for suffix in (".czi", ".lif", ".oib", ".nd2", ".png", ".unknown"):
            other = path.rename(path.with_suffix(suffix))
            assert kind_of(other) == kind
            np.testing.assert_array_equal(read(other).pixels[0], values)
            path = other
    assert "a.lif: named .lif, but the content is CZI; it is read as CZI" in caplog.text


def test_text_of_an_oif_counts_only_by_its_name(tmp_path: Path) -> None:
    write_oif(tmp_path / "a.oif", pixels(1, 12, 16), "C", wide=False)
    assert read(tmp_path / "a.oif").shape == (1, 12, 16)
    (tmp_path / "a.oif").rename(tmp_path / "a.tif")
    with pytest.raises(ContractileError, match="is text, not an image"):
        read(tmp_path / "a.tif")
