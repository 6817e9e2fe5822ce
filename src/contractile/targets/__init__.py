"""Labels -> what the network learns: class map, what keeps touching objects apart, weight map.

Knows neither files nor networks. Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, one
number per object (task `objects`) or per class (task `classes`), and every negative value is a pixel that
nobody annotated. Lengths are in pixels, of the finest axis where axes differ.
"""

from __future__ import annotations

from contractile.targets.separation import find_cores, separate, separation_weight
from contractile.targets.target import IGNORE, Target, TargetConfig, class_balance, make_target, unannotated

__all__ = [
    "IGNORE",
    "Target",
    "TargetConfig",
    "class_balance",
    "find_cores",
    "make_target",
    "separate",
    "separation_weight",
    "unannotated",
]
