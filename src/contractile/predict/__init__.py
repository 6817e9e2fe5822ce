"""The journey forward: image -> tiles -> network -> stitched probabilities -> labels, for arrays and for files."""

from __future__ import annotations

from contractile.predict.files import Written as Written
from contractile.predict.files import predict_files as predict_files
from contractile.predict.predictor import Predictor as Predictor
from contractile.predict.predictor import load as load
from contractile.predict.predictor import probabilities as probabilities
from contractile.predict.predictor import segment as segment
