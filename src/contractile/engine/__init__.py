"""Runs a network on arrays, (B, C, *S) -> (B, K, *S'), as fast as the machine can without changing its labels."""

from __future__ import annotations

from contractile.engine.agreement import Agreement as Agreement
from contractile.engine.hardware import Device as Device
from contractile.engine.hardware import find_device as find_device
from contractile.engine.hardware import free_memory as free_memory
from contractile.engine.hardware import native_precision as native_precision
from contractile.engine.hardware import total_memory as total_memory
from contractile.engine.placed import EngineConfig as EngineConfig
from contractile.engine.placed import Placed as Placed
from contractile.engine.placed import place as place
from contractile.engine.tile_size import example_shape as example_shape
from contractile.engine.tile_size import fit_tile as fit_tile
