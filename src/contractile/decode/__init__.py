"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background. Every core is one object and grows
into what is inside around it; cores have a class of their own (K = 3: outside, rim, core) or are surely inside (K = 2).
"""

from __future__ import annotations

from contractile.decode.decoding import Decoding as Decoding
from contractile.decode.decoding import decode_objects as decode_objects
from contractile.decode.decoding import inside_probability as inside_probability
