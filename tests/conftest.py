"""What all tests share: no deadlines (machines differ), the same examples on every run, a cache of their own."""

import os
import tempfile

from hypothesis import settings

settings.register_profile("contractile", deadline=None, derandomize=True)
settings.load_profile("contractile")


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name
