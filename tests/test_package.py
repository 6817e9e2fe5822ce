"""The public names: all there, all documented, and importing them costs nothing."""

import subprocess
import sys

import contractile


def test_every_public_name_exists_and_is_documented():
    for name in contractile.__all__:
        assert getattr(contractile, name).__doc__, name
    assert dir(contractile) == sorted(contractile.__all__)


def test_a_name_that_is_not_there():
    assert not hasattr(contractile, "segmnet")


def test_importing_the_package_loads_and_changes_nothing():
    code = (
        "import os, sys; before = dict(os.environ)\n"
        "import contractile\n"
        "assert dict(os.environ) == before\n"
        "assert not {'torch', 'numpy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
