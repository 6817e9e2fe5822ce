"""The U-Net: its configuration and sizes, the network, and the symmetry of its kernels."""

from __future__ import annotations

from contractile.unet.kernels import Kernel as Kernel
from contractile.unet.kernels import find_kernels as find_kernels
from contractile.unet.network import UNet as UNet
from contractile.unet.network import fold as fold
from contractile.unet.sizes import UNetConfig as UNetConfig
from contractile.unet.symmetry import share_statistics as share_statistics
