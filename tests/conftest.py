"""What all tests share: no deadlines (machines differ), the same examples on every run."""

from hypothesis import settings

settings.register_profile("contractile", deadline=None, derandomize=True)
settings.load_profile("contractile")
