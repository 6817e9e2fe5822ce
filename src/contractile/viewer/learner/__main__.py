"""`python -m contractile.viewer.learner`: learn until the page's process ends."""

from __future__ import annotations

import logging
import os
import sys

if __name__ == "__main__":
    from contractile.process import prepare_process

    told, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between two messages
    if hasattr(os, "nice"):
        os.nice(10)  # the page comes first
    prepare_process()
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    from contractile.viewer.learner.process import run

    run(told, answers)
