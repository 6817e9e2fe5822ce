"""Grey-value changes of a normalised tile, such as another microscope, stain or focus would make."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage


class GreyConfig(BaseModel):
    """Largest grey-value changes; each happens with probability `grey_chance`, and 0 switches it off.

    `brightness` (offset) and `noise` (standard deviation) are relative to the standard deviation of the tile.
    `contrast` and `gamma` are factors: 0.3 means from 1 / 1.3 to 1.3. `blur` is the sigma of a Gaussian in pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grey_chance: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    contrast: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    gamma: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    noise: float = Field(default=0.15, ge=0, allow_inf_nan=False)
    blur: float = Field(default=1.0, ge=0, allow_inf_nan=False)


def change_grey_values(
    image: NDArray[np.float32], config: GreyConfig, *, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Blur, gamma, contrast, brightness and noise on a normalised tile: (C, *tile) -> (C, *tile) float32.

    The order is that of image formation: optics first, then detector. Each channel changes independently. A constant
    channel stays constant, since all strengths are relative. The same state of `rng` gives the same change.
    """
    if config.grey_chance == 0:
        return image.astype(np.float32)
    return np.stack([_change_channel(channel, config, rng) for channel in image])


def _change_channel(channel: NDArray[np.float32], config: GreyConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    blur, gamma, contrast, brightness, noise = rng.random(5) < config.grey_chance
    std = float(channel.std())
    if blur and config.blur > 0:
        channel = ndimage.gaussian_filter(channel, rng.uniform(0, config.blur), mode="mirror", truncate=3.0)
    if gamma and config.gamma > 0 and std > 0:
        channel = _bend(channel, _draw_factor(config.gamma, rng))
    factor = _draw_factor(config.contrast, rng) if contrast else 1.0
    offset = rng.uniform(-config.brightness, config.brightness) * std if brightness else 0.0
    if factor != 1 or offset != 0:  # contrast changes around the mean, which stays
        channel = channel * np.float32(factor) + np.float32(float(channel.mean()) * (1 - factor) + offset)
    if noise and config.noise > 0:
        strength = np.float32(rng.uniform(0, config.noise) * std)
        channel = channel + strength * rng.standard_normal(channel.shape, np.float32)
    return channel.astype(np.float32, copy=False)


def _bend(channel: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """A gamma curve that keeps the darkest and the brightest value."""
    low, high = channel.min(), channel.max()
    relative = (channel - low) / (high - low)  # 0 ... 1
    bent: NDArray[np.float32] = low + (high - low) * relative ** np.float32(power)
    return bent


def _draw_factor(largest: float, rng: np.random.Generator) -> float:
    """A factor from 1 / (1 + largest) to 1 + largest, uniform in the logarithm: up and down are equally likely."""
    end = math.log1p(largest)
    return math.exp(rng.uniform(-end, end))
