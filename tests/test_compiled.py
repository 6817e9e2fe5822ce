"""Compiled loops, also where nothing can be kept on disk."""

import numba
import pytest

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


def double(number):
    return 2 * number


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("save", OSError(28, "No space left on device")),
        ("save", OSError(122, "Disk quota exceeded")),
        ("load", PermissionError("a cache that somebody else wrote")),
        ("load", EOFError("Ran out of input")),
    ],
)
def test_a_cache_that_fails_is_not_needed(monkeypatch, step, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, step, fail)
    assert compiled.compiled(double)(4) == 8


def test_what_is_compiled_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    first, second = compiled.compiled(double), compiled.compiled(double)
    assert (first(4), second(4)) == (8, 8)
    assert sum(second.stats.cache_hits.values()) == 1
    assert list(tmp_path.rglob("*.nbc"))
