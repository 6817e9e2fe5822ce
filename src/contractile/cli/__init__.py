"""The command line: parse, call one library function, print. Libraries are imported where a verb needs them."""

from __future__ import annotations

from contractile.cli.program import app as app
from contractile.cli.program import main as main
