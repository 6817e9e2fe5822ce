"""Runs a network fast wherever it is, and checks that what is fast is also right.

Knows nothing about images, tiles or tasks: arrays (B, C, *S) in, class probabilities (B, K, *S') out.
"""

from __future__ import annotations

from contractile.engine.hardware import find_device as find_device
from contractile.engine.hardware import free_memory as free_memory
from contractile.engine.hardware import native_precision as native_precision
from contractile.engine.int8 import Ranges as Ranges
from contractile.engine.int8 import measure_ranges as measure_ranges
from contractile.engine.run import Backend as Backend
from contractile.engine.run import Engine as Engine
from contractile.engine.run import EngineConfig as EngineConfig
from contractile.engine.tile_size import fit_tile as fit_tile
