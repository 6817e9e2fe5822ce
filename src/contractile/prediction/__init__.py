"""The journey forward: image -> field of probabilities -> labels, for arrays and for files."""

from __future__ import annotations

from contractile.prediction.field import Field as Field
from contractile.prediction.field import Mean as Mean
from contractile.prediction.files import predict_files as predict_files
from contractile.prediction.outputs import Written as Written
from contractile.prediction.predictor import Assessed as Assessed
from contractile.prediction.predictor import Predictor as Predictor
from contractile.prediction.predictor import load as load
