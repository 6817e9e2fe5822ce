"""Ratios that were reached before: `judge` says where a benchmark has fallen more than a fifth behind one.

`ratios.toml` holds the ratio of each row as last recorded, by table; `--record` of a benchmark writes its own anew.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomli_w

KNOWN = Path(__file__).with_name("ratios.toml")
ALLOWED_LOSS = 0.2


def judge(table: str, ratios: Mapping[str, float], *, record: bool = False) -> bool:
    """Print what has regressed in a table of ratios (larger is better); True when nothing has."""
    known = tomllib.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.is_file() else {}
    if record:
        known[table] = {name: round(ratio, 3) for name, ratio in ratios.items()}
        KNOWN.write_text(tomli_w.dumps(dict(sorted(known.items()))), encoding="utf-8")
        return True
    before = known.get(table, {})
    fallen = {name: ratio for name, ratio in ratios.items() if ratio < (1 - ALLOWED_LOSS) * before.get(name, 0)}
    for name, ratio in fallen.items():
        print(f"REGRESSED: {table}: {name}: ratio {ratio:.2f}, was {before[name]:.2f}")
    compared = sum(name in before for name in ratios)
    print(f"{table}: {compared - len(fallen)} of {compared} known ratios held within {100 * ALLOWED_LOSS:.0f} %\n")
    return not fallen
