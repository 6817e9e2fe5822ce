"""The public names: all there, all documented, and a verb is never hidden by the room of its name."""

import subprocess
import sys

import contractile


def test_every_public_name_exists_and_is_documented():
    for name in contractile.__all__:
        assert getattr(contractile, name).__doc__, name
    assert dir(contractile) == sorted(contractile.__all__)


def test_a_name_that_is_not_there():
    assert not hasattr(contractile, "segmnet")


def test_rooms_do_not_hide_verbs():
    code = (
        "import contractile.train, contractile.evaluate, contractile\n"
        "assert callable(contractile.train) and callable(contractile.evaluate)\n"
        "from contractile.train import Run"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
