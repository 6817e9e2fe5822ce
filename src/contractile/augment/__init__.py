"""One random smooth warp, applied to image, target and weight together, and grey-value changes.

Elastic deformation, rotation, scale, mirroring and the crop are composed into ONE map from the pixels of a
tile to positions in the image, so every value is interpolated once; classes are never interpolated. Knows
neither files nor networks. *S = (Y, X) or (Z, Y, X), D = number of axes of *S. Lengths are in pixels. The
work is done without the GIL, so that a background thread can prepare samples while another one trains.
"""

from __future__ import annotations

from contractile.augment.grey import GreyConfig, change_grey_values
from contractile.augment.paste import Picture, paste_objects
from contractile.augment.warp import Sample, Warp, WarpConfig, apply_warp, draw_warp, warp

__all__ = [
    "AugmentConfig",
    "GreyConfig",
    "Picture",
    "Sample",
    "Warp",
    "WarpConfig",
    "apply_warp",
    "change_grey_values",
    "draw_warp",
    "paste_objects",
    "warp",
]


class AugmentConfig(WarpConfig, GreyConfig):
    """How strongly samples are varied, in shape and in grey values."""

    @classmethod
    def paper(cls) -> AugmentConfig:
        """Shift, rotation, elastic deformation and grey values: Ronneberger et al. 2015, sec. 3.1.

        The paper gives the grid (3 x 3), its standard deviation (10 pixels) and the bicubic interpolation of
        the displacements. It names rotation and grey values without a range: any angle, since a section has
        no upright, and brightness and contrast alone, at the strength of the default. Nothing else is added.
        """
        return cls(flip=False, scale=(1.0, 1.0), gamma=0.0, noise=0.0, blur=0.0)

    @classmethod
    def mild(cls) -> AugmentConfig:
        """For so many images that a run sees each of them a few times at most: half as far from what was recorded."""
        full = cls()
        return cls(elastic_std=full.elastic_std / 2, grey_chance=full.grey_chance / 2)

    @classmethod
    def none(cls) -> AugmentConfig:
        """Plain crops: no warp, no change of grey values."""
        return cls(elastic_std=0.0, rotation=0.0, flip=False, scale=(1.0, 1.0), grey_chance=0.0)
