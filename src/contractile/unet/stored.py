"""A network that is kept as its configuration and weights, and built when somebody needs it as a PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from contractile.unet.sizes import UNetConfig

if TYPE_CHECKING:
    from contractile.unet.network import UNet


class StoredUNet:
    """A U-Net of which the configuration and the weights are known; PyTorch is not needed until `network` is.

    `StoredUNet.of(network)` is one whose network is there already.
    """

    def __init__(self, config: UNetConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        """`weights` are named as in the state of the network, and hold float32 (counters: int64)."""
        self.config: UNetConfig = config
        self._weights: Mapping[str, NDArray[Any]] = weights
        self._network: UNet | None = None

    @classmethod
    def of(cls, network: UNet | StoredUNet) -> StoredUNet:
        """The stored form of a network; one that is stored already is given back."""
        if isinstance(network, StoredUNet):
            return network
        stored = cls(network.config, {})
        stored._network = network
        return stored

    @property
    def network(self) -> UNet:
        """The network, in evaluation mode where it is built here."""
        weights = self._weights  # read first: another thread may build the network meanwhile, and forget them last
        if self._network is None:
            import torch

            from contractile.unet.network import UNet

            network = UNet(self.config)
            network.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
            self._network = network.eval()
            self._weights = {}
        return self._network

    @property
    def weights(self) -> Mapping[str, NDArray[Any]]:
        """The weights by name: those that the network has at this moment, where there is one."""
        weights = self._weights
        if self._network is None:
            return weights
        state = self._network.state_dict()
        return {name: values.detach().cpu().contiguous().numpy() for name, values in state.items()}
