"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background. Every core is one object (with
`Decoding.split`, each of its large pieces is) and grows over the inside around it. Cores are class 1 of three (outside,
core, rim), or the most certain inside of two classes.

What decoding needs is kept of each block (`keep`), objects are found in each block (`piece`) and sewn (`sewing`).
"""

from __future__ import annotations

from contractile.decode.kept import CERTAIN as CERTAIN
from contractile.decode.kept import LEVELS as LEVELS
from contractile.decode.kept import inside_probability as inside_probability
from contractile.decode.kept import keep as keep
from contractile.decode.kept import reach as reach
from contractile.decode.kept import unpack as unpack
from contractile.decode.objects import Each as Each
from contractile.decode.objects import Objects as Objects
from contractile.decode.objects import decode_objects as decode_objects
from contractile.decode.settings import Decoding as Decoding
