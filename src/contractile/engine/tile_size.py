"""The tile for an image: the fewest, equal tiles whose sides the network takes."""

from __future__ import annotations

from contractile.unet import UNetConfig


def fit_tile(config: UNetConfig, shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """The tile (*S) that covers an image of `shape` in the fewest steps with sides of at most `limit`.

    Every side is a size the network takes, and at least the smallest that yields output.
    """
    return tuple(_fit_side(config, n, limit) for n in shape)


def _fit_side(config: UNetConfig, n: int, limit: int) -> int:
    context = 2 * config.margin if config.padding == "same" else 0

    def side(core: int) -> int:
        """Smallest fitting input that owns at least `core` pixels."""
        return config.input_size(core + context)

    whole = side(n)
    if whole <= limit:
        return whole
    smallest = side(config.stride)
    count = 2
    while True:
        core = -(-n // count)
        aligned = -(-core // config.stride) * config.stride  # tile origins lie on the pooling grid
        if side(aligned) <= max(limit, smallest):
            return side(aligned)
        count += 1
