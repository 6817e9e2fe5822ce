"""Compiled loops: also where nothing can be kept on disk."""

from contractile import compiled


def test_compiles_without_a_cache_folder(monkeypatch):
    def refuse(*, cache=False, nogil=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled.numba, "njit", refuse)
    assert compiled.compiled(len) is len
