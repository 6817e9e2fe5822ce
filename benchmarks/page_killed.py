"""Is a stroke ever lost, and does the session go on, when the local page is ended by SIGKILL?

    python benchmarks/page_killed.py [--times 10] [--seed 0] [--folder DIR]

`contractile view` is started on a drawn image. A network learns while strokes are sent, one after the other, by the
requests of the page. After a few seconds, at a random moment, the process is ended by SIGKILL and started again on the
same session. Promised: every stroke that was answered is there, each time, also in the label file at the end; the last
one, which was under way, is there or not, as a whole; a network learns again. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import http.client
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import tifffile
from annotator import Page

from contractile.images import read_labels
from contractile.synthetic import SceneConfig, draw_scene

SHAPE = (512, 512)
LEAST_S, MOST_S = 3.0, 9.0  # before a process is ended
LEARNS_S = 180.0  # within which a network must learn again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    pixels, truth = draw_scene(SceneConfig(shape=SHAPE), np.random.default_rng(given.seed))
    tifffile.imwrite(images / "cells.tif", pixels[0].clip(0, 2**16 - 1).astype(np.uint16))
    rng, expected = random.Random(given.seed), np.full(SHAPE, -1, np.int32)
    lost = unsure = 0
    for time_number in range(1, given.times + 1):
        page = Page(images, folder / "session", "objects")
        lost += compare(page, expected, unsure)
        expected = layer(page)
        sent, unsure = draw(page, truth, expected, rng)
        print(f"{time_number}: {sent} strokes answered, {'one' if unsure else 'none'} under way, ended", flush=True)
    page = Page(images, folder / "session", "objects")
    lost += compare(page, expected, unsure)
    shown = layer(page)
    learns = wait_for_steps(page)
    page.close()
    same = bool((read_labels(folder / "session" / "labels" / "cells.tif") == shown).all())
    print(f"strokes lost: {lost}; the label file is {'the same' if same else 'NOT the same'}; learns again: {learns}")
    return 0 if lost == 0 and same and learns else 1


def layer(page: Page) -> np.ndarray:
    found = page.layer(0, "annotation", SHAPE)
    assert found is not None
    return found.copy()


def draw(page: Page, truth: np.ndarray, expected: np.ndarray, rng: random.Random) -> tuple[int, int]:
    """Send strokes until the process is ended. `expected` follows each that was answered. (answered, under way)."""
    threading.Timer(rng.uniform(LEAST_S, MOST_S), page.process.kill).start()
    sent = 0
    while True:
        y, x = rng.randrange(SHAPE[0]), rng.randrange(SHAPE[1] - 3)
        value = 0 if truth[y, x] == 0 else "new"
        fields = {"kind": "paint", "image": 0, "points": [[y, x], [y, x + 3]], "radius": 1, "value": value}
        try:
            answer = page.post("/api/strokes", fields)
            region = answer["changed"]
            part = page.layer(0, "annotation", SHAPE) if region else None
        except (OSError, http.client.HTTPException):  # the process has ended, maybe amid its answer
            page.process.wait()
            return sent, 1
        sent += 1
        if part is not None:
            expected[:] = part


def compare(page: Page, expected: np.ndarray, unsure: int) -> int:
    """1 where more differs from what was answered than one stroke can change."""
    differ = np.argwhere(layer(page) != expected)
    if len(differ) == 0:
        return 0
    small = (np.ptp(differ, axis=0) <= (3, 6)).all()
    return 0 if unsure and small else 1


def wait_for_steps(page: Page) -> bool:
    end = time.monotonic() + LEARNS_S
    while time.monotonic() < end:
        status = page.get("/api/session")["learning"]
        if status["steps"] > 0:
            return True
        time.sleep(1)
    return False


if __name__ == "__main__":
    sys.exit(main())
