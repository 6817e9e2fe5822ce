"""A training run as one self-contained HTML page: `write_report`.

The page loads nothing from elsewhere: pictures, curves and style are inside, and there is no script.
"""

from __future__ import annotations

from contractile.report.predictions import write_predictions as write_predictions
from contractile.report.run import write_report as write_report
