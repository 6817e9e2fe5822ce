"""The command line: parse, call one library function, print. Libraries are imported where a verb needs them."""

from __future__ import annotations

from contractile.cli.program import main as main
from contractile.cli.verbs import app as app
