"""How far the scale `linear` is from plain percentiles on images: what a floor of noise and bounds change there.

    python benchmarks/scales.py IMAGES...

Prints, for each place, the largest difference of a value that a network sees, and the smallest and largest ratio of
the contrasts. Where both are the same, what was measured with percentiles still holds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from contractile.images import find, read
from contractile.intensity import Normalization

OLD, NEW = Normalization(kind="percentile"), Normalization(kind="linear")


def main(places: Sequence[str]) -> None:
    print("| images | number | largest difference | contrast, new / old |")
    print("|---|--:|--:|---|")
    for place in places:
        differences, ratios = [], []
        for source in find(place):
            pixels = read(source).pixels
            old, new = OLD.fit(pixels), NEW.fit(pixels)
            differences.append(float(np.abs(new.apply(pixels) - old.apply(pixels)).max()))
            ratios.append(float((new.scale / old.scale).min()))
        print(f"| {place} | {len(ratios)} | {max(differences):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
