"""The public names: all there, all documented, and importing them costs nothing."""

import subprocess
import sys

import pytest

import contractile

# What takes long to import: a command loads it where it is needed.
HEAVY = {"dask", "distributed", "imagecodecs", "jinja2", "lightning_fabric", "matplotlib", "numba", "numpy", "openvino"}
HEAVY |= {"PIL", "scipy", "skimage", "starlette", "tensorboard", "tifffile", "torch", "yaozarrs", "zarr"}


def test_every_public_name_exists_and_is_documented():
    for name in contractile.__all__:
        assert getattr(contractile, name).__doc__, name
    assert dir(contractile) == sorted(contractile.__all__)


def test_a_name_that_is_not_there():
    assert not hasattr(contractile, "segmnet")


def test_importing_the_package_loads_and_changes_nothing():
    code = (
        "import os, sys; before = dict(os.environ), set(sys.modules)\n"
        "import contractile\n"
        "assert dict(os.environ) == before[0]\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before[1]} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["contractile"]


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {*HEAVY, "pydantic"}),
        (["--version"], {*HEAVY, "pydantic"}),
        (["train", "--help"], HEAVY),  # typer itself loads pydantic to read what was given to a verb
        (["train"], HEAVY),
    ],
)
def test_what_needs_no_pixel_starts_without_heavy_libraries(words, heavy):
    code = (
        "import sys; from contractile.cli import main\n"
        "try: main()\n"
        "finally: print('loaded:', *{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert {"contractile", "typer"} <= loaded
    assert not loaded & heavy, done.stderr
