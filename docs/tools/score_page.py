"""Every score as a page: name, meaning, direction and formula, as the package itself knows them."""

from __future__ import annotations

import inspect

from contractile.metrics import GROUPS, METRICS, ctc, isbi, matching, overlap, surface

TITLE = "Scores"
INTRODUCTION = """
`contractile evaluate PREDICTED TRUTH` computes those of these scores that fit the truth. `--scores ap,overlap`
chooses groups, `--scores f1,iou` single scores. The table names each score as it is written on the command line and
in the JSON file. [What they measure, and where their definitions come from](../science/scores.md).
"""
ROOMS = {"isbi": isbi, "overlap": overlap, "ap": matching, "ctc": ctc, "surface": surface}
FORMULAS = {
    "pixel_error": "1 - 2 TP / (2 TP + FP + FN) of white pixels, at the best of 10 thresholds",
    "warping_error": "(splits + mergers) / pixels, at the best of 10 thresholds",
    "rand_error": "1 - 2 Σ p² / (Σ s² + Σ t²), at the best of 10 thresholds",
    "v_rand": "2 Σ p² / (Σ s² + Σ t²) of thinned maps, mean over images, at the best of 11 thresholds",
    "v_info": "2 I(S; T) / (H(S) + H(T)) of thinned maps, mean over images, at the best of 11 thresholds",
    "dice": "2 x shared area / (predicted area + true area), mean over classes",
    "iou": "shared area / joint area, mean over classes",
    "adapted_rand": "1 - 2 Σ p² / (Σ s² + Σ t²), background of the truth left out, mean over images",
    "voi_split": "H(S given T), in bits, mean over images",
    "voi_merge": "H(T given S), in bits, mean over images",
    "ap": "TP / (TP + FP + FN)",
    "f1": "2 TP / (2 TP + FP + FN)",
    "pq": "Σ IoU of matches / (TP + FP / 2 + FN / 2)",
    "aji": "Σ shared area / (Σ joint area + unmatched areas), of the pairs with the best IoU",
    "matched_jaccard": "pixels of matches / pixels of either foreground",
    "seg": "mean over true objects of the IoU with the object that covers more than half of it; 0 without one",
    "det": "1 - min(AOGM-D, AOGM-D₀) / AOGM-D₀",
    "tra": "1 - min(AOGM, AOGM₀) / AOGM₀",
    "hausdorff": "max over outline pixels of the distance to the other outline, mean over images",
    "hd95": "95th percentile of these distances, mean over images",
    "assd": "mean of these distances, mean over images",
    "surface_dice": "share of the outlines within a tolerance of the other outline, mean over images",
}


def page() -> str:
    """The page of all scores, as Markdown. Raises KeyError for a score without a formula here."""
    parts = [f"# {TITLE}", INTRODUCTION.strip()]
    for group, names in GROUPS.items():
        about = (inspect.getdoc(ROOMS[group]) or "").split("\n\n")
        head = ["| score | meaning | best | formula |", "|---|---|---|---|"]
        rows = [_row(name) for name in names]
        parts += [f"## `{group}`", " ".join(about[0].split()), "\n".join([*head, *rows])]
    parts.append(NOTE.strip())
    return "\n\n".join(parts) + "\n"


NOTE = """
TP are true objects that were found (at an IoU of at least 0.5, where no other level is named), FN those that were
missed, FP predicted objects that are not there. p, s and t are numbers of pixels that a true and a predicted object
share, of predicted objects and of true objects. H is entropy, I mutual information. A score that is undefined, such
as the AP of an empty image, is `null` in the JSON file, with the reason. A score with `_image_mean` is the mean of
the scores of the images; without it, objects of all images are counted together.
"""


def _row(name: str) -> str:
    metric = METRICS[name]
    best = "0" if metric.lower_is_better else "1"
    formula = FORMULAS[name.removesuffix(matching.IMAGE_MEAN)]
    mean = ", mean over images" if name.endswith(matching.IMAGE_MEAN) else ""
    return f"| `{name}` | {metric.title}: {metric.meaning} | {best} | {formula}{mean} |"
