"""Quality without a truth: how likely each object is right, and whether an image is like those learned from."""

from __future__ import annotations

from contractile.quality.classes import Calibration as Calibration
from contractile.quality.classes import ExpectedDice as ExpectedDice
from contractile.quality.classes import fit_calibration as fit_calibration
from contractile.quality.confidence import FEATURES as FEATURES
from contractile.quality.confidence import Confidence as Confidence
from contractile.quality.confidence import Expected as Expected
from contractile.quality.confidence import Known as Known
from contractile.quality.confidence import Shown as Shown
from contractile.quality.confidence import expect_together as expect_together
from contractile.quality.confidence import fit_confidence as fit_confidence
from contractile.quality.likeness import Likeness as Likeness
from contractile.quality.likeness import Unlike as Unlike
from contractile.quality.likeness import fit_likeness as fit_likeness
from contractile.quality.likeness import statistics as statistics
