"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background. With K = 2, outside and inside,
objects are what hangs together; with K = 3, outside, rim and core, every core is one object and grows into its rim.
"""

from __future__ import annotations

from contractile.instances.decoding import Decoding as Decoding
from contractile.instances.decoding import decode_objects as decode_objects
from contractile.instances.decoding import inside_probability as inside_probability
from contractile.instances.size import object_sizes as object_sizes
from contractile.instances.size import typical_diameter as typical_diameter
