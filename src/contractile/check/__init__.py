"""The data doctor: finds the faults of a dataset, says how to cure them, and repairs those that need no person."""

from __future__ import annotations

from contractile.check.doctor import check_dataset as check_dataset
from contractile.check.doctor import find_errors as find_errors
from contractile.check.findings import Finding as Finding
from contractile.check.findings import list_left as list_left
from contractile.check.repair import check_place as check_place
from contractile.check.repair import fix_dataset as fix_dataset
