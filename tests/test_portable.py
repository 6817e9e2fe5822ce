"""The package on a system that lacks what Linux has (`windows.py`), and that it says how it reads and writes text."""

import subprocess
import sys
from pathlib import Path

import pytest
from windows import WORKS

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the files of /proc are looked at")


@pytest.mark.parametrize("work", WORKS)
def test_a_system_like_windows(tmp_path, work):
    words = [sys.executable, str(Path(__file__).with_name("windows.py")), work, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
