"""Labels -> what the network learns: a class map in which touching objects are apart, and a weight map.

This room knows neither files nor networks. Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, every
object (task `objects`) or class (task `classes`) has a number of its own, and negative pixels are not annotated.
Lengths are in pixels of the finest axis.
"""

from __future__ import annotations

from contractile.targets.separation import find_cores as find_cores
from contractile.targets.separation import separate as separate
from contractile.targets.separation import separation_weight as separation_weight
from contractile.targets.target import IGNORE as IGNORE
from contractile.targets.target import Target as Target
from contractile.targets.target import TargetConfig as TargetConfig
from contractile.targets.target import class_balance as class_balance
from contractile.targets.target import known_labels as known_labels
from contractile.targets.target import make_target as make_target
from contractile.targets.target import unannotated as unannotated
