"""Objects that `nuclei` finds in fields that are padded, or have a defect: beside those in the fields themselves.

    python benchmarks/padding.py DATA/dsb2018/val/images

From each image a field of 128 x 160 pixels is cut. It is set into an image of 250 x 250 of one value, or is given a
column or a bar at the upper limit of 16 bits. No diameter is given. The table gives the objects in all
fields, and the mean over the fields of how far each is from its own number without padding or defect.
"""

from __future__ import annotations

import argparse

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np

from contractile.images import find, read
from contractile.model import load
from contractile.prediction import Predictor

SIZE, WHOLE, CORNER, TOP = (128, 160), (250, 250), (50, 30), 65535
INNER = tuple(slice(at, at + size) for at, size in zip(CORNER, SIZE, strict=True))


def conditions(field):
    """Name -> (image, where the field lies in it), for a field (Y, X) uint16."""
    yield "as it is", field, (slice(None), slice(None))
    for offset in (0, 100, 1000):
        for value in (0, 1020, 60000):
            image = np.full(WHOLE, value, np.uint16)
            image[INNER] = field + offset
            yield f"pixels + {offset}, padded with {value}", image, INNER
    column, bar = field.copy(), field.copy()
    column[:, 80], bar[110:118, 20:90] = TOP, TOP
    yield f"a column of {TOP}", column, (slice(None), slice(None))
    yield f"a bar of {TOP}", bar, (slice(None), slice(None))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    model = Predictor(load("nuclei"))
    found = {}
    for source in find(parser.parse_args().images):
        pixels = read(source).pixels[0]
        if pixels.shape < SIZE or pixels.shape[1] < SIZE[1]:
            continue
        for name, image, inside in conditions(pixels[: SIZE[0], : SIZE[1]].astype(np.uint16)):
            labels = model.segment(image[None])[inside]
            found.setdefault(name, []).append(len(np.unique(labels[labels > 0])))
    plain = np.array(found["as it is"])
    print(f"{len(plain)} fields\n| field | objects | mean difference |\n|---|--:|--:|")
    for name, counts in found.items():
        print(f"| {name} | {sum(counts)} | {np.abs(np.array(counts) - plain).mean():.2f} |")


if __name__ == "__main__":
    main()
