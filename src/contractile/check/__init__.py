"""The data doctor: names what is wrong with a dataset, and the cure; repairs what can be repaired
without a person."""

from __future__ import annotations

from contractile.check.doctor import check_dataset as check_dataset
from contractile.check.doctor import fix_dataset as fix_dataset
from contractile.check.findings import Finding as Finding
