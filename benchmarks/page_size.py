"""Is the local page as quick at an image of 100,000 x 100,000 pixels as at one of 1,000 x 1,000?

    python benchmarks/page_size.py [--side 100000] [--folder DIR]

An OME-Zarr with its levels is made, in which a part of the blocks hold pixels (the others are 0, and are not stored),
and a TIFF. For each the page is opened; while a network learns from a few strokes, regions of 1000 x 1000 pixels of the
screen are asked for at random places and levels, and strokes are sent. Medians, the 95 % quantile and their ratios are
printed. Exits with 1 where a region takes more than 100 ms (median) or 300 ms (95 %).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import zarr
from annotator import Page
from numpy.typing import NDArray

from contractile.synthetic import SceneConfig, draw_scene

SCREEN = 1000  # pixels along each side
CHUNK = 512
PATCHES = 60  # of 2048 x 2048 pixels that are stored at the full resolution
PATCH = 2048
WHOLE = 8192  # levels of at most so many pixels along a side are stored everywhere
ASKED = 150
STROKES = 20
MEDIAN_S, MOST_S = 0.1, 0.3


def make(path: Path, side: int) -> list[tuple[int, int]]:
    """Write the OME-Zarr; the corners of the patches that hold pixels."""
    rng = random.Random(0)
    texture = cells(PATCH)
    corners = [
        (rng.randrange(side // PATCH - 1) * PATCH, rng.randrange(side // PATCH - 1) * PATCH) for _ in range(PATCHES)
    ]
    group, level, size = zarr.open_group(path, mode="w", zarr_format=2), 0, side
    datasets = []
    while size > 256:
        chunks = (1, CHUNK, CHUNK)
        array = group.create_array(str(level), shape=(1, size, size), chunks=chunks, dtype=np.uint8, fill_value=0)
        if size <= WHOLE:
            times = -(-size // PATCH)
            array[0] = np.tile(texture, (times, times))[:size, :size]
        else:
            part = texture[:: 2**level, :: 2**level]
            for y, x in corners:
                array[0, (y >> level) : (y >> level) + len(part), (x >> level) : (x >> level) + len(part)] = part
        scale = [{"type": "scale", "scale": [1.0, 0.5 * 2**level, 0.5 * 2**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": scale})
        level, size = level + 1, size // 2
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return corners


def cells(side: int) -> NDArray[np.uint8]:
    pixels, _ = draw_scene(SceneConfig(shape=(side, side)), np.random.default_rng(0))
    low, high = pixels[0].min(), np.percentile(pixels[0], 99.9)
    return (255 * np.clip((pixels[0] - low) / (high - low), 0, 1)).astype(np.uint8)


def measure(images: Path, folder: Path, corners: list[tuple[int, int]]) -> dict[str, float]:
    """Seconds until the page answers, of regions and of strokes, and the memory of its process in MB."""
    begun = time.perf_counter()
    page = Page(images, folder, "objects", "--allow-missing")
    [image] = page.get("/api/session")["images"]
    opened = time.perf_counter() - begun
    rng, levels = random.Random(1), image["levels"]
    y, x = corners[0]
    for value, at in (("new", 20), (0, 60), ("new", 100)):
        points = [[y + at, x + 20], [y + at, x + 60]]
        page.post("/api/strokes", {"kind": "paint", "image": 0, "points": points, "radius": 8, "value": value})
    page.post("/api/view", {"image": 0, "region": [y, y + SCREEN, x, x + SCREEN]})
    while page.get("/api/session")["learning"]["steps"] == 0:
        time.sleep(0.5)
    regions = [ask(page, rng, levels, corners) for _ in range(ASKED)]
    strokes = [stroke(page, rng, corners) for _ in range(STROKES)]
    memory = int(Path(f"/proc/{page.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    page.close()
    return {
        "opened": opened,
        "region, median": statistics.median(regions),
        "region, 95 %": float(np.quantile(regions, 0.95)),
        "stroke, median": statistics.median(strokes),
        "memory in MB": memory,
    }


def ask(page: Page, rng: random.Random, levels: list[list[int]], corners: list[tuple[int, int]]) -> float:
    """Seconds of one region as large as the screen, at a random level, where there are pixels."""
    level = rng.randrange(len(levels))
    height, width = levels[level]
    y, x = (
        min(n >> level, max(0, size - SCREEN)) for n, size in zip(rng.choice(corners), (height, width), strict=True)
    )
    where = f"level={level}&y={y}&x={x}&h={min(SCREEN, height - y)}&w={min(SCREEN, width - x)}"
    begun = time.perf_counter()
    page.ask("GET", f"/api/images/0/pixels?{where}")
    return time.perf_counter() - begun


def stroke(page: Page, rng: random.Random, corners: list[tuple[int, int]]) -> float:
    """Seconds of a stroke, at a random place."""
    y, x = (n + rng.randrange(900) for n in rng.choice(corners))
    fields = {"kind": "paint", "image": 0, "points": [[y, x], [y + 30, x + 30]], "radius": 5, "value": 0}
    begun = time.perf_counter()
    page.post("/api/strokes", fields)
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    (folder / "small").mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / "small" / "cells.tif", cells(1000))
    small = measure(folder / "small", folder / "small-session", [(0, 0)])
    corners = make(folder / "large.zarr", given.side)
    large = measure(folder / "large.zarr", folder / "large-session", corners)
    for name, seconds in large.items():
        print(f"{name}: {seconds:.4g} at {given.side}, {small[name]:.4g} at 1000: {seconds / small[name]:.2f} times")
    return 0 if large["region, median"] <= MEDIAN_S and large["region, 95 %"] <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
