"""Compiled loops, also where nothing can be kept on disk."""

from contractile import compiled


def test_compiles_without_a_cache_folder(monkeypatch):
    asked = []

    def refuse(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled.numba, "njit", refuse)
    assert compiled.compiled(len) is len
    assert compiled.compiled(len, fastmath=True) is len
    assert asked[:2] == [{"cache": True, "nogil": True}, {"nogil": True}]
    assert asked[2:] == [{"cache": True, "nogil": True, "fastmath": True}, {"nogil": True, "fastmath": True}]
