"""How closely the scores agree with the reference implementations of the field.

    python benchmarks/references.py FOLDER

FOLDER holds what the reference implementations printed, and the images that they were given: `isbi/` (Fiji's
Trainable_Segmentation), `ctc/` (the binaries of the Cell Tracking Challenge) and `matching/` (StarDist, Cellpose,
scikit-image, MedPy, surface-distance). Prints, for each reference, how many values were compared and the largest
difference; the exit status is 1 where a difference is larger than the precision of the printed values.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from contractile.evaluation import EvaluateConfig, evaluate
from contractile.metrics import METRICS, ctc, isbi
from contractile.metrics.contingency import Objects, select_objects, tabulate
from contractile.metrics.matching import Matches, match, sum_matched_jaccard
from contractile.metrics.overlap import adapted_rand, foreground_overlap, variation_of_information
from contractile.metrics.surface import score_surfaces
from contractile.metrics.thinning import thin
from contractile.metrics.warping import count_topology_errors, warp

Compared = tuple[str, Any, Any, float]  # what, our values, those of the reference, the difference allowed
EXACT, DOUBLE, SINGLE, PRINTED = 0.0, 1e-9, 1e-6, 1e-6

QUICK = ("pixel_error", "rand_error", "v_rand", "v_info")
FIJI = {
    "pixel_error": ("pixel.getPrecisionRecallStats(0,0.9,0.1)", lambda x: 1 - x["fScore"]),
    "rand_error": ("rand_old.getForegroundRestrictedRandIndexStats(0,0.9,0.1)", lambda x: 1 - x["fScore"]),
    "v_rand": (
        "vrand_thinned.getForegroundRestrictedRandAfterThinningStats(0,1.0,0.1,perSliceAverage=true)",
        lambda x: x["fScore"],
    ),
    "v_info": ("vinfo_thinned.getForegroundRestrictedScoresAfterThinning(0,1.0,0.1)", lambda x: x),
}
FIJI_COUNTS = (
    "warping.counts simplePointWarp2d+classifyMismatches2d(radius=20)+clusterMismatchesByType "
    "per threshold 0..0.9, summed over slices"
)
STARDIST = {
    "true_positives": "tp",
    "false_positives": "fp",
    "false_negatives": "fn",
    "ap": "accuracy",
    "f1": "f1",
    "pq": "panoptic_quality",
    "mean_true_iou": "mean_true_score",
    "mean_matched_iou": "mean_matched_score",
}


def overlap(predicted: Any, truth: Any) -> Objects:
    return select_objects(tabulate(predicted, truth))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def compare_isbi(folder: Path) -> Iterator[Compared]:
    """Fiji: curves of the scores, thinned basins, warped maps and the counts of topology errors."""
    for record in load(folder / "crop3.json")["records"]:
        proposals = tifffile.imread(folder / record["proposal"])
        truth = tifffile.imread(folder / record["labels"])
        yield from _compare_curves(record, proposals, truth)
        yield from _compare_topology(record, proposals.astype(np.float64), truth > 0, folder)
    proposals = tifffile.imread(folder / "full_b_blur1p5_noise_u8.tif") / np.float32(256)
    record = load(folder / "full30.json")["records"][0]
    yield from _compare_curves(record, proposals, tifffile.imread(folder / "full_labels.tif"))


def _compare_curves(record: Any, proposals: Any, truth: Any) -> Iterator[Compared]:
    measured = [isbi.measure(p, t, names=QUICK) for p, t in zip(proposals, truth, strict=True)]
    for name, (key, pick) in FIJI.items():
        if key in record["outputs"]:
            expected = [pick(value) for value in record["outputs"][key]]
            ours = isbi.curve(name, np.sum([m[name] for m in measured], axis=0))
            yield f"Fiji, {METRICS[name].title}", ours[: len(expected)], expected, DOUBLE


def _compare_topology(record: Any, proposals: Any, truth: Any, folder: Path) -> Iterator[Compared]:
    stem = record["proposal"].removesuffix(".tif")
    basins = tifffile.imread(folder / f"{stem}__official_thinned_basins_th0.5.tif")
    warped = tifffile.imread(folder / f"{stem}__official_warped_labels_th0.5.tif") > 0
    yield "Fiji, thinned basins", [thin(p > 0.5) for p in proposals], basins, EXACT
    pairs = list(zip(proposals, truth, strict=True))
    yield "Fiji, warped maps", [warp(p, t, 0.5) for p, t in pairs], warped, EXACT
    for threshold, expected in zip(isbi.THRESHOLDS, record["outputs"][FIJI_COUNTS], strict=False):
        each = [astuple(count_topology_errors(p, t, threshold)) for p, t in pairs]
        yield "Fiji, topology errors", np.sum(each, axis=0), list(expected.values()), EXACT


def compare_ctc(folder: Path) -> Iterator[Compared]:
    """The challenge's binaries: SEG, DET, TRA, the IoU of each object and the counts of all edits."""
    for record in load(folder / "ctc.json")["records"]:
        truth, result = folder / record["ground_truth"], folder / record["result_dir"]
        frames = {kind: _read_frames(truth / kind, result) for kind in ("SEG", "TRA")}
        tracks = [ctc.parse_tracks(p.read_text()) for p in (result / "res_track.txt", truth / "TRA" / "man_track.txt")]
        errors = ctc.count_tracking_errors(frames["TRA"], *tracks)
        each = np.concatenate([ctc.score_objects(objects) for objects in frames["SEG"].values()])
        official = record["official_binary"]
        edits = [*astuple(errors)[1:4], *astuple(errors)[5:]]
        yield "challenge, counts of edits", edits, list(official["TRA_log_counts"].values()), EXACT
        found = [float(line.split("J=")[1]) for line in official["SEG_J_per_object"] if "J=" in line]
        yield "challenge, IoU of each object", each, found, PRINTED
        terms = {"seg": np.array([each.sum(), each.size]), "det": errors.array, "tra": errors.array}
        for name, sums in terms.items():
            expected = float(official[name.upper()].split(":")[1])
            yield f"challenge, {METRICS[name].title}", METRICS[name].score(sums), expected, PRINTED
            if record["result_dir"].endswith("RES_all_errors"):
                summary = evaluate(result, truth, scores=["ctc"], config=EvaluateConfig(resamples=0)).summary
                yield "challenge, whole folder with `evaluate`", summary[name].value, expected, PRINTED


def _read_frames(folder: Path, result: Path) -> dict[int, Objects]:
    return {
        int(path.stem[-3:]): overlap(tifffile.imread(result / f"mask{path.stem[-3:]}.tif"), tifffile.imread(path))
        for path in sorted(folder.glob("*.tif"))
    }


def compare_matching(folder: Path) -> Iterator[Compared]:
    """StarDist, Cellpose and scikit-image on nuclei, image by image and as a set."""
    reference = load(folder / "instance.json")
    images: dict[str, Matches] = {}
    for record in reference["records"]:
        true, predicted = (tifffile.imread(folder / record[side]) for side in ("true", "pred"))
        table, outputs = tabulate(predicted, true), record["outputs"]
        objects = select_objects(table)
        found = images[f"{record['true']}|{record['pred']}"] = match(objects)
        for ours, theirs in STARDIST.items():
            expected = [level[theirs] for level in outputs["stardist.matching(thresh=0.5..0.95)"]]
            # StarDist prints 0 where there is nothing to match
            yield f"StarDist, {ours}", np.nan_to_num(getattr(found, ours)), expected, SINGLE
        jaccard = outputs["cellpose.aggregated_jaccard_index"]
        if jaccard != "nan":
            yield "Cellpose, one-to-one Jaccard", sum_matched_jaccard(objects).iou, jaccard, SINGLE
        values = [value for key, value in outputs.items() if key.startswith("skimage")]
        if all("nan" not in value for value in values):
            for expected, ignore in zip(values[:2], ((0,), ()), strict=True):
                error, precision, recall = adapted_rand(table, ignore=ignore) or (np.nan,) * 3
                yield "scikit-image, Rand error", [error, recall, precision], expected, SINGLE
            for expected, ignore in zip(values[2:], ((), (0,)), strict=True):
                ours = variation_of_information(table, ignore=ignore)
                yield "scikit-image, variation of information", ours, expected, SINGLE
    chosen = [images[name] for name in reference["dataset_over"]]
    pooled = sum(chosen[1:], chosen[0])
    sides = np.array_split(reference["stardist.matching_dataset(by_image False then True)"], 2)
    for name in ("ap", "pq"):
        together, by_image = ([level[STARDIST[name]] for level in side] for side in sides)
        yield f"StarDist, {name} of a set", getattr(pooled, name), together, SINGLE
        mean = np.mean([getattr(one, name) for one in chosen], axis=0)
        yield f"StarDist, {name} of a set", mean, by_image, SINGLE


def compare_surfaces(folder: Path) -> Iterator[Compared]:
    """MedPy and surface-distance on masks, at three pixel sizes."""
    for record in load(folder / "distance.json")["records"]:
        if "empty" in record["a"] + record["b"]:
            continue
        true, predicted = (_read_mask(folder, record[side]) for side in ("a", "b"))
        areas = foreground_overlap(tabulate(predicted, true))
        expected = [record["outputs"][f"medpy.{name}"] for name in ("dc", "jc")]
        yield "MedPy, Dice, IoU", [*areas.dice, *areas.iou], expected, DOUBLE
        for spacing in ((1.0, 1.0), (0.5, 1.3), (2.0, 0.7)):
            expected = record["outputs"][f"spacing={spacing}"]
            scores = score_surfaces(predicted, true, spacing=spacing) or {}
            medpy = [expected[f"medpy.{name}"] for name in ("hd", "hd95", "assd")]
            yield "MedPy, HD, HD95, ASSD", [scores["hausdorff"], scores["hd95"], scores["assd"]], medpy, DOUBLE
            deepmind = expected["deepmind(gt=a,pred=b)"]
            for tolerance in (0.5, 1.0, 2.0, 3.0):
                scores = score_surfaces(predicted, true, spacing=spacing, tolerance=tolerance) or {}
                dice = deepmind[f"surface_dice(tol={tolerance})"]
                yield "surface-distance, surface Dice", scores["surface_dice"], dice, DOUBLE


def _read_mask(folder: Path, name: str) -> Any:
    """`tiny:square`, `0_true.tif (>0)`, `0_true.tif == 14`."""
    if ":" in name:
        names = load(folder / "tiny_masks_names.json")
        return tifffile.imread(folder / "tiny_masks.tif")[names.index(name.split(":")[1])] > 0
    labels = tifffile.imread(folder / name.split(" ")[0])
    value = re.search(r"== (\d+)", name)
    return labels == int(value[1]) if value else labels > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows: dict[str, tuple[int, float, float]] = {}
    for compare, group in (
        (compare_isbi, "isbi"),
        (compare_ctc, "ctc"),
        (compare_matching, "matching"),
        (compare_surfaces, "matching"),
    ):
        for what, ours, theirs, allowed in compare(folder / group):
            gaps = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
            gaps = np.nan_to_num(gaps, nan=np.inf)
            count, worst, _ = rows.get(what, (0, 0.0, allowed))
            rows[what] = count + gaps.size, max(worst, float(gaps.max(initial=0))), allowed
    print("| reference, score | values | largest difference | allowed |\n|---|--:|--:|--:|")
    for what, (count, worst, allowed) in rows.items():
        print(f"| {what} | {count:,} | {worst:.0e} | {allowed:.0e} |{'' if worst <= allowed else ' EXCEEDED'}")
    sys.exit(0 if all(worst <= allowed for _, worst, allowed in rows.values()) else 1)


if __name__ == "__main__":
    main()
