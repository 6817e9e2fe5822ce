"""A run or a prediction as one self-contained HTML page: `write_report`, `write_prediction_report`.

Pages load nothing from elsewhere: pictures, curves and style are inside, and there is no script.
"""

from __future__ import annotations

from contractile.report.prediction import Segmentation as Segmentation
from contractile.report.prediction import write_prediction_report as write_prediction_report
from contractile.report.run import write_report as write_report
