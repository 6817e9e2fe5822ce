"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background. Every core is one object and grows
over the inside around it. Cores are class 1 of three (outside, core, rim), or the most certain inside of two classes.
"""

from __future__ import annotations

from contractile.decode.decoding import Decoding as Decoding
from contractile.decode.decoding import decode_objects as decode_objects
from contractile.decode.decoding import inside_probability as inside_probability
