"""How tiles of other programs fit a network: the sizes that it takes, and what is dropped at their borders.

Such a program cuts an image into equal blocks, reads some pixels around each (the halo), and drops them from what the
network gives, which must be as large as what it took. It does so from the first pixel of the image on, and knows
nothing of the pooling grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contractile.unet import UNetConfig

Ends = tuple[int, int]  # pixels at the beginning and at the end of an axis


@dataclass(frozen=True)
class Frame:
    """Per axis of *S: what is cut from a tile before a network sees it, and what is filled in around its output.

    A tile of a size that is a multiple of the network's stride then gives output of its own size. With `fill` pixels
    dropped, it is what the network says about the image: a tile that begins at a multiple of the stride meets the same
    pooling grid as our own tiles (`prediction`), whose first pixel lies one margin before such a multiple.
    """

    cut: tuple[Ends, ...]
    fill: tuple[Ends, ...]

    @classmethod
    def of(cls, config: UNetConfig) -> Frame:
        """That of a network: nothing for a padded one, whose output is as large as its input."""
        if config.padding == "same":
            nothing = ((0, 0),) * config.dims
            return cls(nothing, nothing)
        cuts, fills = [], []
        for axis, (margin, stride) in enumerate(zip(config.margin, config.stride, strict=True)):
            before = -margin % stride  # what is left begins one margin before a multiple of the stride
            after = -(before + config.input_size(1, axis)) % stride  # and has a size that the network takes
            cuts.append((before, after))
            fills.append((before + margin, margin + after))
        return cls(tuple(cuts), tuple(fills))


@dataclass(frozen=True)
class Tiles:
    """The tiles that a network, or several, take: per axis of *S, all in pixels.

    A side is `least` or more by a multiple of `step`. `halo` pixels at each end of a tile are dropped; it is a
    multiple of `step` too, so that every tile begins on the pooling grid.
    """

    step: tuple[int, ...]
    halo: tuple[int, ...]

    @classmethod
    def of(cls, configs: Sequence[UNetConfig]) -> Tiles:
        """Those that all of these networks take, which see images of the same number of axes."""
        steps = [math.lcm(*strides) for strides in zip(*(one.stride for one in configs), strict=True)]
        felt = [_felt(config) for config in configs]  # networks x axes
        most = [max(ends) for ends in zip(*felt, strict=True)]
        halo = tuple(math.ceil(pixels / step) * step for pixels, step in zip(most, steps, strict=True))
        return cls(tuple(steps), halo)

    @property
    def least(self) -> tuple[int, ...]:
        """The smallest tile of which something is left."""
        return tuple(2 * halo + step for halo, step in zip(self.halo, self.step, strict=True))

    def fit(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The largest tile that is no larger than `shape` (*S); where that is smaller than `least`, this."""
        sides = zip(shape, self.step, self.least, strict=True)
        return tuple(max(least, size // step * step) for size, step, least in sides)


def _felt(config: UNetConfig) -> tuple[int, ...]:
    """How far, on each axis, the border of a tile is felt in the output of its own size."""
    if config.padding == "same":
        return config.margin
    return tuple(max(ends) for ends in Frame.of(config).fill)
