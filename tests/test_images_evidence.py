"""Labels show what the axes of an image are that does not name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import find, read, read_labels, settle_axes
from contractile.images.axes import guess_axes
from contractile.images.naming import Guess, fit_to_labels


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ((2, 32, 28), (32, 28), "CYX"),
        ((32, 28, 5), (32, 28), "YXC"),
        ((20, 32, 28), (32, 28), "CYX"),
        ((3, 32, 28), (3, 32, 28), "QYX"),
        ((32, 28, 4), (32, 28, 4), "YXQ"),
        ((7, 2, 32, 28), (7, 32, 28), "QCYX"),
        ((2, 7, 32, 28), (7, 32, 28), "CQYX"),
        ((1, 2, 32, 28), (32, 28), "QCYX"),
        ((2, 32, 28), (1, 32, 28), "CYX"),
        ((2, 32, 28), (32, 27), None),
        ((2, 3, 32, 28), (32, 28), None),
    ],
)
def test_labels_settle_the_axes(
    tmp_path: Path, image: tuple[int, ...], labels: tuple[int, ...], expected: str | None
) -> None:
    np.save(tmp_path / "i.npy", numbered(*image))
    np.save(tmp_path / "l.npy", numbered(*labels))
    source, truth = find(tmp_path / "i.npy")[0], find(tmp_path / "l.npy")[0]
    settled = settle_axes(source, truth)
    assert settled == expected
    if settled:
        sources, truths = find(tmp_path / "i.npy", axes=settled), find(tmp_path / "l.npy", axes=settled)
        assert len(sources) == len(truths)
        assert [read(one).shape[1:] for one in sources] == [read_labels(one).shape for one in truths]


def test_three_pages_that_tifffile_took_for_a_colour(tmp_path: Path) -> None:
    for name in ("i.tif", "l.tif"):
        tifffile.imwrite(tmp_path / name, numbered(3, 32, 28), photometric="rgb", planarconfig="separate")
    image, truth = find(tmp_path / "i.tif")[0], find(tmp_path / "l.tif")[0]
    assert (image.page, settle_axes(image, truth)) == (None, "QYX")
    pages = find(tmp_path / "l.tif", labels=True)
    assert [read_labels(page)[0, 0] for page in pages] == [0, 896, 1792]


@pytest.mark.parametrize("planes", [3, 4])
def test_three_or_four_planes_that_tifffile_took_for_a_colour(
    tmp_path: Path, planes: int, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = numbered(planes, 32, 28)
    extra = {"extrasamples": ["unassalpha"]} if planes == 4 else {}
    tifffile.imwrite(tmp_path / "v.tif", pixels, photometric="rgb", planarconfig="separate", **extra)
    np.testing.assert_array_equal(read(find(tmp_path, dims=3)[0], dims=3).pixels[0], pixels)
    np.testing.assert_array_equal(read_labels(tmp_path / "v.tif", dims=3), pixels)
    np.testing.assert_array_equal(read(tmp_path / "v.tif", dims=3, axes="ZYX").pixels[0], pixels)
    assert caplog.messages == ["v.tif: its samples of a colour are read as planes of a volume"]


@pytest.mark.parametrize(("form", "axes"), [({"imagej": True}, "CYX"), ({"photometric": "rgb"}, "YXS")])
def test_channels_of_a_file_that_names_them_become_planes_when_asked(
    tmp_path: Path, form: dict[str, Any], axes: str
) -> None:
    pixels = numbered(2, 32, 28) if axes == "CYX" else numbered(32, 28, 3)
    tifffile.imwrite(tmp_path / "v.tif", pixels, **form, metadata={"axes": axes})
    letters = axes.replace("C", "Z").replace("S", "Z")
    with pytest.raises(ContractileError, match=rf"no depth.*\(--axes {letters}\)"):
        read(tmp_path / "v.tif", dims=3)
    found = read(tmp_path / "v.tif", dims=3, axes=letters)
    assert found.shape == ((1, 2, 32, 28) if axes == "CYX" else (1, 3, 32, 28))
    assert found.pixels[0, 1, 0, 0] == (896 if axes == "CYX" else 1)


def test_labels_have_no_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", numbered(3, 32, 28))
    with pytest.raises(
        ContractileError, match=r"one channel, got 3 .* name the axes if these are pages \(--axes QYX\)"
    ):
        read_labels(find(tmp_path / "l.npy")[0])
    pages = find(tmp_path / "l.npy", labels=True)
    assert [read_labels(page)[0, 0] for page in pages] == [0, 896, 1792]


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ((2, 9, 32, 28), (9, 32, 28), "CZYX"),
        ((9, 2, 32, 28), (9, 32, 28), "ZCYX"),
        ((9, 32, 28, 2), (9, 32, 28), "ZYXC"),
        ((2, 9, 32, 28), (2, 9, 32, 28), "QZYX"),
        ((32, 28, 5), (32, 28, 5), "YXZ"),
    ],
)
@pytest.mark.parametrize("form", ["npy", "tif"])
def test_labels_settle_the_axes_of_volumes(
    tmp_path: Path, image: tuple[int, ...], labels: tuple[int, ...], expected: str, form: str
) -> None:
    for name, shape in (("i", image), ("l", labels)):
        if form == "npy":
            np.save(tmp_path / f"{name}.npy", numbered(*shape))
        else:
            tifffile.imwrite(tmp_path / f"{name}.tif", numbered(*shape), photometric="minisblack")
    source, truth = (find(tmp_path / f"{name}.{form}", dims=3)[0] for name in "il")
    assert settle_axes(source, truth, dims=3) == expected


def test_coloured_labels_settle_the_axes_as_well(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", numbered(2, 32, 28))
    (tmp_path / "l.png").write_bytes(imagecodecs.png_encode(numbered(32, 28, 3, dtype="uint8")))
    assert settle_axes(find(tmp_path / "i.tif")[0], find(tmp_path / "l.png")[0]) == "CYX"


def test_axes_that_are_known_need_no_evidence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", numbered(2, 32, 28), metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "l.tif", numbered(32, 28))
    assert settle_axes(find(tmp_path / "i.tif")[0], find(tmp_path / "l.tif")[0]) is None


@given(st.lists(st.integers(20, 40), min_size=2, max_size=4, unique=True), st.integers(2, 19), st.data())
def test_labels_show_the_channels_wherever_they_are(lengths: list[int], channels: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(lengths)))
    shape = (*lengths[:place], channels, *lengths[place:])
    truth = guess_axes(tuple(lengths), dims=2, file="f", labels=True)
    settled = fit_to_labels(Guess(shape, "Q" * len(shape)), truth, tuple(lengths))
    assert settled == f"{truth[:place]}C{truth[place:]}"
