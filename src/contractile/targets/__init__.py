"""Labels -> what the network learns: class map, gap between touching objects or depth inside them, weight map.

Knows neither files nor networks. Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, one
number per object (task `objects`) or per class (task `classes`), and every negative value is a pixel that
nobody annotated. Lengths are in pixels, of the finest axis where axes differ.
"""

from __future__ import annotations

from contractile.targets.depth import object_depth
from contractile.targets.separation import connected, renumber, separate, separation_weight
from contractile.targets.target import IGNORE, Target, TargetConfig, class_balance, make_target, unannotated

__all__ = [
    "IGNORE",
    "Target",
    "TargetConfig",
    "class_balance",
    "connected",
    "make_target",
    "object_depth",
    "renumber",
    "separate",
    "separation_weight",
    "unannotated",
]
