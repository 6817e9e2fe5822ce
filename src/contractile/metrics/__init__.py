"""Labels x labels -> numbers. Knows arrays only: no file, no network, no screen.

Every score starts from one sparse table of overlaps (`contingency`). The modules are the field's own
groups of scores: `overlap`, `isbi` (with `thinning` and `warping`), `ctc`, `matching`, `surface`.
Import the module you need: `from contractile.metrics import isbi`. Everywhere the prediction comes
first, the truth second.
"""
