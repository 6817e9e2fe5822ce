"""One random smooth warp of image, target and weight together; changes of grey values; pasted objects.

Elastic deformation, rotation, scale, mirroring and the crop are composed into one map from the pixels of a tile to
positions in the image, so that every value is interpolated only once; classes are never interpolated. This room knows
neither files nor networks. *S = (Y, X) or (Z, Y, X), D = number of axes of *S. Lengths are in pixels. Compiled loops
run without the interpreter lock, so that a background thread can prepare samples while another one trains.
"""

from __future__ import annotations

from contractile.augment.grey import GreyConfig as GreyConfig
from contractile.augment.grey import change_grey_values as change_grey_values
from contractile.augment.grey import change_light as change_light
from contractile.augment.grey import dim_objects as dim_objects
from contractile.augment.grey import with_rims as with_rims
from contractile.augment.paste import Picture as Picture
from contractile.augment.paste import paste_objects as paste_objects
from contractile.augment.warp import Sample as Sample
from contractile.augment.warp import Warp as Warp
from contractile.augment.warp import WarpConfig as WarpConfig
from contractile.augment.warp import apply_warp as apply_warp
from contractile.augment.warp import draw_warp as draw_warp
from contractile.augment.warp import nearest as nearest
from contractile.augment.warp import warp as warp


class AugmentConfig(WarpConfig, GreyConfig):
    """How strongly samples are varied, in shape and in grey values."""

    @classmethod
    def paper(cls) -> AugmentConfig:
        """The augmentation of Ronneberger et al. 2015, sec. 3.1: shift, rotation, elastic deformation, grey values.

        The paper gives the grid (3 x 3), the standard deviation of the displacements (10 pixels) and their bicubic
        interpolation. It gives no range for rotation and grey values. Here rotation is by any angle, because a section
        has no upright position, and grey values change in brightness and contrast, as strongly as in the default.
        """
        light = {"illumination": 0.0, "blur": 0.0, "photons": 0.0, "noise": 0.0, "saturation": 0.0}
        return cls(flip=False, scale=(1.0, 1.0), gamma=0.0, **light)

    @classmethod
    def mild(cls) -> AugmentConfig:
        """Half as strong elastic deformation, half as frequent changes of light and grey values.

        For runs that see each image few times.
        """
        full = cls()
        half = {name: getattr(full, name) / 2 for name in ("elastic_std", "grey_chance", "light_chance")}
        return cls(**half)

    @classmethod
    def none(cls) -> AugmentConfig:
        """Plain crops: no warp, no change of grey values."""
        return cls(elastic_std=0.0, rotation=0.0, flip=False, scale=(1.0, 1.0), grey_chance=0.0, light_chance=0.0)
