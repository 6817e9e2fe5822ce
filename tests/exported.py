"""What tests of exported models share: small trained-like networks, and the tiling of other programs."""

import itertools

import numpy as np
import torch
from torch import nn

import contractile as ct
from contractile.model import Model, ModelCard

FACTS = {"task": "objects", "diameter": 12.0}


def make_model(seed=0, card=None, **config):
    """A model of random weights, whose norms hold random statistics."""
    torch.manual_seed(seed)
    config = ct.UNetConfig(**{"width": 4, "depth": 2, "classes": 3, **config})
    network = ct.UNet(config)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    with torch.no_grad():
        network.head.weight *= 4  # or all probabilities would be alike
    return Model(network.eval(), ModelCard(network=config, **{**FACTS, **(card or {})}))


def tile_as_others(run, image, *, step, halo, least, more=1, back=False):
    """A map (K, *S) of an image (C, *S), tiled as bioimageio.core and deepImageJ do it.

    Blocks follow one another from the first pixel on; each is read with the halo around it; what lies beyond the image
    is mirrored; the halo is dropped. The last block goes beyond the end of the image, or it ends there (`back`), as in
    deepImageJ.
    """
    tile = [smallest + more * by for smallest, by in zip(least, step, strict=True)]
    block = [side - 2 * rim for side, rim in zip(tile, halo, strict=True)]
    counts = [-(-size // side) for size, side in zip(image.shape[1:], block, strict=True)]
    pads = [
        (rim, count * side - size + rim)
        for rim, count, side, size in zip(halo, counts, block, image.shape[1:], strict=True)
    ]
    padded = np.pad(image, [(0, 0), *pads], mode="reflect")
    out = None
    for place in itertools.product(*map(range, counts)):
        starts = [number * side for number, side in zip(place, block, strict=True)]
        if back:
            ends = [size - side for size, side in zip(image.shape[1:], block, strict=True)]
            starts = [min(start, end) for start, end in zip(starts, ends, strict=True)]
        read = tuple(slice(start, start + side) for start, side in zip(starts, tile, strict=True))
        found = run(padded[(slice(None), *read)][None])[0]
        assert found.shape[1:] == tuple(tile)
        if out is None:
            out = np.zeros((len(found), *(count * side for count, side in zip(counts, block, strict=True))), np.float32)
        kept = tuple(slice(rim, rim + side) for rim, side in zip(halo, block, strict=True))
        write = tuple(slice(start, start + side) for start, side in zip(starts, block, strict=True))
        out[(slice(None), *write)] = found[(slice(None), *kept)]
    return out[(slice(None), *map(slice, image.shape[1:]))]
