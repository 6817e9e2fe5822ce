"""Pieces of bytes that wait: in memory, then in a file without a name."""

import os
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile.errors import NotWritten
from contractile.prediction import spool as room
from contractile.prediction.spool import Spool


@given(st.lists(st.binary(max_size=40)), st.integers(1, 200))
def test_pieces_come_back_in_their_order(pieces, in_memory):
    with TemporaryDirectory() as folder:
        spool = Spool(folder, in_memory=in_memory)
        for number, piece in enumerate(pieces):
            assert list(spool) == pieces[:number]
            spool.add(piece)
        assert list(spool) == list(spool) == pieces
        assert len(spool) == len(pieces)
        assert os.name == "nt" or os.listdir(folder) == []
        spool.clear()
        assert list(spool) == []
        assert not spool
        spool.add(b"again")
        assert list(spool) == [b"again"]
        spool.clear()


def test_many_pieces_are_not_in_memory(tmp_path):
    spool = Spool(tmp_path, in_memory=100)
    spool.add(bytes(90))
    assert not spool._file._rolled
    spool.add(bytes(90))
    assert spool._file._rolled
    spool.clear()
    assert not spool._file._rolled


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    class Full(room.SpooledTemporaryFile):
        def write(self, piece):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "SpooledTemporaryFile", Full)
    with pytest.raises(NotWritten, match=r"cannot be written \(No space left on device\)"):
        Spool(tmp_path).add(b"piece")
