"""The U-Net: its configuration and sizes, the network, and the symmetry of its kernels.

The configuration, its arithmetic and stored weights need no PyTorch; the other names load it when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from contractile.unet.sizes import UNetConfig as UNetConfig
from contractile.unet.stored import StoredUNet as StoredUNet

if TYPE_CHECKING:
    from contractile.unet.kernels import Kernel as Kernel
    from contractile.unet.kernels import find_kernels as find_kernels
    from contractile.unet.network import UNet as UNet
    from contractile.unet.network import adopt as adopt
    from contractile.unet.network import fold as fold
    from contractile.unet.symmetry import memory_format as memory_format
    from contractile.unet.symmetry import share_statistics as share_statistics

_MODULES = {
    "Kernel": "kernels",
    "UNet": "network",
    "adopt": "network",
    "find_kernels": "kernels",
    "fold": "network",
    "memory_format": "symmetry",
    "share_statistics": "symmetry",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'contractile.unet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"contractile.unet.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
