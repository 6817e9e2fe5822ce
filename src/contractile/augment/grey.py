"""Changes of light and grey values, such as another sample, microscope, camera or focus would make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from skimage.segmentation import expand_labels

from contractile.errors import in_one_line
from contractile.labels import renumber

Floats = NDArray[np.float32]

GLOW = 4.0  # width in pixels of the light beyond the outline of an object
SOFT = 1.0  # sigma in pixels by which the light of an object ends softly at its outline
AROUND = 12.0  # sigma in pixels of the surroundings that an object rises above
SHRUNK = 4  # the surroundings are found on an image so many times smaller
QUIETEST = 30.0  # the weakest noise that is added is so many times weaker than the strongest
LOUD = 1.75  # how much larger than its standard deviation noise is measured that neighbours share (intensity.py)
BLURRED = 0.28  # of white noise in 2-D a Gaussian of sigma s leaves this over s: 1 / (2 sqrt(pi))


@in_one_line
class GreyConfig(BaseModel):
    """Largest changes of light and grey values; 0 switches each off.

    Each change of grey values happens with probability `grey_chance`, each change of light with `light_chance`, and
    objects are dimmed with `grey_chance`.

    The noise of the light itself (`photons`) grows with the root of the brightness. Noise is spread over neighbours, as
    interpolation and filters do, in a share `light_chance` of the cases. An object is dimmed relative to its
    surroundings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grey_chance: float = Field(
        default=0.5, ge=0, le=1, description="chance of each change of grey values, and of dimmed objects"
    )
    light_chance: float = Field(
        default=0.25, ge=0, le=1, description="chance of each change of light: illumination, blur, noise, saturation"
    )
    dimmed: float = Field(
        default=1.0, ge=1, le=1e6, description="single objects become up to this many times darker; 1: none"
    )
    illumination: float = Field(
        default=0.3, ge=0, le=1, description="strength of a smooth slope of light across the sample"
    )
    blur: float = Field(default=1.0, ge=0, le=100, description="largest sigma of a Gaussian blur, in pixels")
    photons: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="largest noise of the light itself, as a share of the brightest structures",
    )
    noise: float = Field(
        default=0.1, ge=0, le=10, description="largest noise of the camera, as a share of the brightest structures"
    )
    smoothed: float = Field(
        default=0.0, ge=0, le=100, description="largest sigma, in pixels, by which noise is spread over neighbours"
    )
    saturation: float = Field(
        default=0.3, ge=0, lt=1, description="share of the range that the camera may cut off at the top"
    )
    brightness: float = Field(
        default=0.3, ge=0, le=100, description="largest offset, in standard deviations of the sample"
    )
    contrast: float = Field(default=0.3, ge=0, le=100, description="largest factor: 0.3 means from 1 / 1.3 to 1.3")
    gamma: float = Field(default=0.3, ge=0, le=100, description="largest exponent: 0.3 means from 1 / 1.3 to 1.3")


def change_light(
    light: Floats,
    noise: NDArray[np.float64],
    config: GreyConfig,
    *,
    rng: np.random.Generator,
) -> tuple[Floats, NDArray[np.float64]]:
    """Illumination, blur, noise and saturation of relative light (C, *tile), 0 = background and 1 = brightest.

    Returns the light and its noise: `noise` (C,) is the standard deviation of what the image itself has. The order is
    that of image formation. Channels change independently. The same state of `rng` gives the same change.
    """
    if config.light_chance == 0:
        return light.astype(np.float32), noise
    changed = [_change_light(one, float(own), config, rng) for one, own in zip(light, noise, strict=True)]
    return np.stack([one for one, _ in changed]), np.array([own for _, own in changed])


def _change_light(light: Floats, noise: float, config: GreyConfig, rng: np.random.Generator) -> tuple[Floats, float]:
    sloped, blurred, noisy, cut = rng.random(4) < config.light_chance
    if sloped and config.illumination > 0:
        light = light * _slope(light.shape, config.illumination, rng)
    if blurred and config.blur > 0:
        sigma = rng.uniform(0, config.blur)
        light = ndimage.gaussian_filter(light, sigma, mode="mirror", truncate=3.0)
        noise *= (BLURRED / max(sigma, BLURRED)) ** (light.ndim / 2)
    if noisy:
        read, photons = (_draw_noise(largest, rng) for largest in (config.noise, config.photons))
        strength = np.sqrt(np.float32(read**2) + np.float32(photons**2) * np.maximum(light, 0))
        spread = rng.uniform(0, config.smoothed) if config.smoothed > 0 and rng.random() < config.light_chance else 0.0
        light = light + strength * _draw_grain(light.shape, spread, rng)
        noise = math.hypot(noise, read * (LOUD if spread > BLURRED else 1))
    if cut and config.saturation > 0:
        light = np.minimum(light, np.float32(1 - rng.uniform(0, config.saturation)))
    return light.astype(np.float32, copy=False), noise


def _draw_grain(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Floats:
    """Noise of standard deviation 1, that a Gaussian of `sigma` has spread over neighbours."""
    grain: Floats = rng.standard_normal(shape, np.float32)
    if sigma > 0:
        grain = ndimage.gaussian_filter(grain, sigma, mode="wrap", truncate=3.0)
        grain /= max(float(grain.std()), 1e-6)
    return grain


def with_rims(labels: NDArray[np.integer[Any]], *, spacing: Sequence[float] = ()) -> NDArray[np.int32]:
    """Labels (*S) -> objects 1..N (*S), each with the light that the lens spreads beyond its outline.

    `spacing` is the size of a pixel along each axis, relative to the finest; by default all are alike.
    """
    return np.asarray(expand_labels(renumber(labels), GLOW, spacing=tuple(spacing) or 1), np.int32)


def dim_objects(light: Floats, numbers: NDArray[np.int32], dimmed: float, *, rng: np.random.Generator) -> Floats:
    """Light (C, *tile) in which the brightness of an object above its surroundings is divided by a factor of its own.

    `numbers` (*tile) are 0 for background and 1..N for the objects (`with_rims`). The factors run from 1 to `dimmed`,
    uniform in their logarithm. A random share of the objects is left as it is.
    """
    gain = np.exp(-rng.uniform(0, math.log(dimmed), 1 + int(numbers.max(initial=0)))).astype(np.float32)
    gain[rng.random(len(gain)) < rng.random()] = 1.0
    gain[0] = 1.0
    soft = ndimage.gaussian_filter(gain[numbers], SOFT, mode="nearest", truncate=3.0)
    ground = numbers == 0
    return np.stack([around + (one - around) * soft for one in light for around in [_surroundings(one, ground)]])


def _surroundings(light: Floats, ground: NDArray[np.bool_]) -> Floats:
    """The light of the `ground`, smoothed and continued below the objects."""
    step, ahead = (slice(None, None, SHRUNK),) * light.ndim, -(SHRUNK // 2)  # the mean of a pixel and those after it
    weight = ndimage.uniform_filter(ground.astype(np.float32), SHRUNK, origin=ahead)[step]
    shine = ndimage.uniform_filter(np.where(ground, light, 0), SHRUNK, origin=ahead)[step]
    shine, weight = (ndimage.gaussian_filter(one, AROUND / SHRUNK, truncate=3.0) for one in (shine, weight))
    small = shine / (weight + np.float32(1e-6))
    factors = np.divide(light.shape, small.shape)
    spread: Floats = ndimage.zoom(small, factors, order=1, mode="nearest", grid_mode=True)
    return spread


def _slope(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Floats:
    """A factor (*shape) around 1, from 1 - strength to 1 + strength, that changes smoothly across the tile."""
    slope = np.zeros((), np.float32)
    for axis, size in enumerate(shape):
        line = np.linspace(-1, 1, size, dtype=np.float32)
        curve = rng.uniform(-1, 1) * line + rng.uniform(-1, 1) * line**2
        slope = slope + curve.reshape(-1, *(1,) * (len(shape) - 1 - axis))
    return np.float32(1) + np.float32(strength * rng.random() / max(1e-6, float(np.abs(slope).max()))) * slope


def change_grey_values(image: Floats, config: GreyConfig, *, rng: np.random.Generator) -> Floats:
    """Gamma, contrast and brightness of the values that a network sees: (C, *tile) -> (C, *tile) float32.

    Each channel changes independently. A constant channel stays constant, since all strengths are relative. The same
    state of `rng` gives the same change.
    """
    if config.grey_chance == 0:
        return image.astype(np.float32)
    return np.stack([_change_channel(channel, config, rng) for channel in image])


def _change_channel(channel: Floats, config: GreyConfig, rng: np.random.Generator) -> Floats:
    gamma, contrast, brightness = rng.random(3) < config.grey_chance
    std = float(channel.std())
    if gamma and config.gamma > 0 and std > 0:
        channel = _bend(channel, _draw_factor(config.gamma, rng))
    factor = _draw_factor(config.contrast, rng) if contrast else 1.0
    offset = rng.uniform(-config.brightness, config.brightness) * std if brightness else 0.0
    if factor != 1 or offset != 0:  # contrast changes around the mean, which stays
        channel = channel * np.float32(factor) + np.float32(float(channel.mean()) * (1 - factor) + offset)
    return channel.astype(np.float32, copy=False)


def _bend(channel: Floats, power: float) -> Floats:
    """A gamma curve that keeps the darkest and the brightest value."""
    low, high = channel.min(), channel.max()
    relative = (channel - low) / (high - low)  # 0 ... 1
    bent: Floats = low + (high - low) * relative ** np.float32(power)
    return bent


def _draw_factor(largest: float, rng: np.random.Generator) -> float:
    """A factor from 1 / (1 + largest) to 1 + largest, uniform in the logarithm: up and down are equally likely."""
    end = math.log1p(largest)
    return math.exp(rng.uniform(-end, end))


def _draw_noise(largest: float, rng: np.random.Generator) -> float:
    """A standard deviation up to `largest`, uniform in the logarithm: weak noise is as likely as strong noise."""
    return largest * math.exp(rng.uniform(-math.log(QUIETEST), 0))
