"""Labels x labels -> numbers. Knows arrays only: no file, no network, no screen.

`METRICS` holds every score by name, `GROUPS` the names of each group. Each group is one module that says what its
scores are (`METRICS`) and measures their terms: `isbi` (with `thinning` and `warping`), `overlap`, `matching`, `ctc`
and `surface`. To add a score, add it to the module of its group. Most scores start from one sparse table of overlaps
(`contingency`). In every function the prediction comes first, the truth second.

Importing this package loads no compiled loops: the modules that need them import them where they are used.
"""

from __future__ import annotations

from contractile.metrics import ctc, isbi, matching, overlap, surface
from contractile.metrics.metric import Metric as Metric

METRICS: dict[str, Metric] = {
    metric.name: metric for module in (isbi, overlap, matching, ctc, surface) for metric in module.METRICS
}
GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(name for name, metric in METRICS.items() if metric.group == group)
    for group in dict.fromkeys(metric.group for metric in METRICS.values())
}
