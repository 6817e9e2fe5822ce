"""Models for other programs, and weights of other programs as models.

A model file becomes an ONNX file or a BioImage.IO package (`export_model`). The weights are run, tile by tile as other
programs do it, and compared with `prediction` before anything is written. Weights of Pytorch-UNet become a model file
(`import_weights`).
"""

from __future__ import annotations

from contractile.export.frame import Frame as Frame
from contractile.export.frame import Tiles as Tiles
from contractile.export.leaving import Exported as Exported
from contractile.export.leaving import export_model as export_model
from contractile.export.pytorch_unet import import_weights as import_weights
from contractile.export.settings import ExportConfig as ExportConfig
