"""Train a U-Net from a handful of annotated microscopy images; segment images of any size without a seam.

    import contractile as ct
    run    = ct.train("images/", "labels/", out="run/", recipe={"minutes": 10})
    model  = ct.load("run/model.safetensors")
    labels = model.segment(image)            # any size
    scores = ct.evaluate(labels, truth)
    net    = ct.UNet(ct.UNetConfig.paper())  # a plain torch.nn.Module

Importing this package imports nothing else: each name is fetched when it is first used. It sets one
environment variable, OMP_WAIT_POLICY=PASSIVE, unless it is set: PyTorch's threads otherwise spin while they
wait, and a training step takes up to ten times as long as soon as anything else wants a core.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contractile.check import check_dataset as check_dataset
    from contractile.evaluate import evaluate as evaluate
    from contractile.images import overlay as overlay
    from contractile.images import read as read
    from contractile.images import read_labels as read_labels
    from contractile.model import Model as Model
    from contractile.model import ModelCard as ModelCard
    from contractile.predict import Predictor as Predictor
    from contractile.predict import load as load
    from contractile.recipe import Recipe as Recipe
    from contractile.report import write_report as write_report
    from contractile.synthetic import draw_scene as draw_scene
    from contractile.train import train as train
    from contractile.unet import UNet as UNet
    from contractile.unet import UNetConfig as UNetConfig

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_ROOMS = {
    "Model": "model",
    "ModelCard": "model",
    "Predictor": "predict",
    "Recipe": "recipe",
    "UNet": "unet",
    "UNetConfig": "unet",
    "check_dataset": "check",
    "draw_scene": "synthetic",
    "evaluate": "evaluate",
    "load": "predict",
    "overlay": "images",
    "read": "images",
    "read_labels": "images",
    "train": "train",
    "write_report": "report",
}
__all__ = list(_ROOMS)


class _Package(ModuleType):
    """Keeps the verb `ct.train` in front of the room `contractile.train`, whichever is used first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'contractile' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"contractile.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
