"""Train a U-Net from a handful of annotated microscopy images; segment images of any size without a seam.

    import contractile as ct
    run    = ct.train("images/", "labels/", out="run/", recipe={"minutes": 10})
    model  = ct.load("run/model.safetensors")
    labels = model.segment(image)            # any size
    scores = ct.evaluate(labels, truth)
    net    = ct.UNet(ct.UNetConfig.paper())  # a plain torch.nn.Module
    ct.view("images/", out="session/")       # see, correct, and watch it learn

Importing this package loads nothing else and changes nothing; each name is loaded when it is first used. Scripts that
train should call `ct.prepare_process()` before they import PyTorch, as the command line does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contractile.check import check_dataset as check_dataset
    from contractile.evaluation import evaluate as evaluate
    from contractile.images import overlay as overlay
    from contractile.images import read as read
    from contractile.images import read_labels as read_labels
    from contractile.model import Model as Model
    from contractile.model import ModelCard as ModelCard
    from contractile.prediction import Predictor as Predictor
    from contractile.prediction import load as load
    from contractile.process import prepare_process as prepare_process
    from contractile.recipe import Recipe as Recipe
    from contractile.report import write_report as write_report
    from contractile.synthetic import draw_scene as draw_scene
    from contractile.training import train as train
    from contractile.unet import UNet as UNet
    from contractile.unet import UNetConfig as UNetConfig
    from contractile.viewer.notebook import view as view

_ROOMS = {
    "Model": "model",
    "ModelCard": "model",
    "Predictor": "prediction",
    "Recipe": "recipe",
    "UNet": "unet",
    "UNetConfig": "unet",
    "check_dataset": "check",
    "draw_scene": "synthetic",
    "evaluate": "evaluation",
    "load": "prediction",
    "overlay": "images",
    "prepare_process": "process",
    "read": "images",
    "read_labels": "images",
    "train": "training",
    "view": "viewer.notebook",
    "write_report": "report",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'contractile' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"contractile.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
