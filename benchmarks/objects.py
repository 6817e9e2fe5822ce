"""How long it takes to turn a network's output into objects, and how the time grows with the image.

    python benchmarks/objects.py [--quick]

Decodes probabilities of touching cells, smooth and slightly wrong as those of a network, for images of 1024 x 1024,
2048 x 2048 and 4096 x 4096 pixels, and prints a Markdown table of medians. Promised: under 2 s for 2048 x 2048 pixels
with 2000 objects, and four times as many pixels take at most 1.3 times as long per pixel. (The smallest image fits the
processor's cache, so its time per pixel is no measure.) `--quick` uses small images, to see that the script works.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.decode import Decoding, decode_objects
from contractile.synthetic import SceneConfig, draw_scene
from contractile.targets import TargetConfig, make_target

LARGEST_S, LARGEST_GROWTH = 2.0, 1.3
OBJECTS = 2000  # on 2048 x 2048 pixels
# With the number of classes. The maps are blurred: between two cores the core probability stays over 0.5, so cores must
# be above 0.8, or be split.
WAYS = {
    "gap (the paper's)": (2, Decoding(min_size=30)),
    "contact, cores above 0.8": (3, Decoding(min_size=30, core=0.8)),
    "contact, cores split (the default)": (3, Decoding(min_size=30, split=400)),
}


def network_output(side: int, *, objects: int, classes: int) -> NDArray[np.float32]:
    """(classes, side, side): probabilities of a good network for `objects` touching cells: smooth, slightly wrong."""
    rng = np.random.default_rng(0)
    scene = SceneConfig(shape=(side, side), objects=objects, radius=16, patchiness=0.2)
    labels = draw_scene(scene, rng)[1]
    way = {2: "gap", 3: "contact"}[classes]
    target = make_target(labels, TargetConfig.model_validate({"separation": way, "w0": 0, "balance": False}))
    maps = np.stack([target.classes == value for value in range(classes)]).astype(np.float32)
    maps = np.stack([np.clip(ndimage.gaussian_filter(one, 1) + off_by(rng, one.shape), 1e-6, 1) for one in maps])
    return (maps / maps.sum(axis=0)).astype(np.float32)


def off_by(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Smooth errors of standard deviation 0.05."""
    errors = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    return 0.05 * errors / errors.std()


def measure(probabilities: NDArray[np.float32], decoding: Decoding, repeats: int) -> tuple[float, int]:
    """Median seconds, and the number of objects found."""
    seconds, found = [], 0
    for _ in range(repeats):
        start = time.perf_counter()
        found = int(decode_objects(probabilities, decoding).max())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images, to see that the script works")
    quick = parser.parse_args().quick
    whole = 256 if quick else 2048
    held = True
    print("| separation | side | objects found | s | s, at most | time per pixel / that of the smaller image |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (classes, decoding) in WAYS.items():
        rates = []
        for side in (whole // 2, whole, 2 * whole):
            objects = OBJECTS * side**2 // 2048**2
            maps = network_output(side, objects=objects, classes=classes)
            seconds, found = measure(maps, decoding, 1 if quick else 5)
            rates.append(seconds / side**2)
            growth = rates[-1] / rates[-2] if len(rates) > 1 else 1.0
            limit = f"{LARGEST_S:g}" if side == whole else "-"
            held = held and (side != whole or seconds <= LARGEST_S) and (side <= whole or growth <= LARGEST_GROWTH)
            print(f"| {name} | {side} | {found} | {seconds:.2f} | {limit} | {growth:.2f} |")
    sys.exit(0 if quick or held else 1)


if __name__ == "__main__":
    main()
