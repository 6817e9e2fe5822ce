"""The journey forward: image -> tiles -> network -> stitched probabilities -> labels, for arrays and for files."""

from __future__ import annotations

from contractile.prediction.files import Written as Written
from contractile.prediction.files import predict_files as predict_files
from contractile.prediction.predictor import Predictor as Predictor
from contractile.prediction.predictor import load as load
from contractile.prediction.predictor import probabilities as probabilities
from contractile.prediction.predictor import segment as segment
