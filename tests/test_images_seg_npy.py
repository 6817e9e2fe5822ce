"""Cellpose's _seg.npy: its masks are read, and nothing in it is run."""

import os
import pickle

import numpy as np
import pytest

from contractile.errors import ContractileError
from contractile.images.gate import Limits
from contractile.images.seg_npy import read_masks

MASKS = np.array([[0, 1, 1], [2, 0, 70000]], np.uint32)


def seg(path, **more):
    found = {
        "masks": MASKS,
        "outlines": MASKS > 1,
        "chan_choose": [0, 0],
        "filename": "a.tif",
        "ismanual": np.zeros(2, bool),
    }
    found |= {"flows": [np.zeros((2, 3), np.float32), None], "est_diam": np.float64(30.0), "diameter": None}
    np.save(path, {**found, **more}, allow_pickle=True)
    return path


def test_masks_are_read(tmp_path):
    found = read_masks(seg(tmp_path / "a_seg.npy"))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, MASKS)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_kind_are_read(tmp_path, protocol):
    path = tmp_path / "a_seg.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        whole = np.array(None, dtype=object)
        whole[()] = {"masks": MASKS, "est_diam": np.float32(3)}
        pickle.dump(whole, file, protocol=protocol)
    np.testing.assert_array_equal(read_masks(path), MASKS)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__, np.load, np.fromfile])
def test_nothing_in_a_file_is_run(tmp_path, function):
    mark = tmp_path / "mark"
    attack = Evil(function, f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')")
    for more in ({"filename": attack}, {"masks": np.array([attack], dtype=object)}):
        with pytest.raises(ContractileError, match="UnpicklingError: it asks for"):
            read_masks(seg(tmp_path / "a_seg.npy", **more))
    assert not mark.exists()


@pytest.mark.parametrize("masks", [np.zeros(3, int), np.zeros((2, 2)), np.full((2, 2), 2**31), "masks", None])
def test_masks_that_are_no_labels_are_refused(tmp_path, masks):
    with pytest.raises(ContractileError, match=r"masks must be whole numbers \(Y, X\) or \(Z, Y, X\), got "):
        read_masks(seg(tmp_path / "a_seg.npy", masks=masks))


def test_damaged_and_other_files_are_refused(tmp_path):
    path = seg(tmp_path / "a_seg.npy")
    whole = path.read_bytes()
    for cut in (0, 5, 90, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ContractileError, match=r"is no _seg\.npy of Cellpose that can be read"):
            read_masks(path)
    np.save(path, np.array({"flows": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(ContractileError, match=r"can be read \(KeyError: 'masks'\)"):
        read_masks(path)


def test_what_lies_elsewhere_is_not_looked_for(tmp_path):
    path = tmp_path / "a_seg.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(b"Pelsewhere\n.")
    with pytest.raises(ContractileError, match="it asks for what lies elsewhere"):
        read_masks(path)


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("contractile.images.seg_npy.limits", lambda: Limits(pixels=10))
    with pytest.raises(ContractileError, match="must have at most 160 bytes, got"):
        read_masks(seg(tmp_path / "a_seg.npy"))
