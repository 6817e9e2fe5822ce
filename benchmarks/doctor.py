"""Does `contractile check` name what is wrong, and keep quiet where nothing is?

    OMP_NUM_THREADS=1 nice -n 19 python benchmarks/doctor.py DATA [--all] [--seed 0]

DATA is a folder with the four sets as their providers publish them (see splits.py). 25 corruptions are each done to a
copy of 4 to 12 images of one of the sets, in turn; the finding must be of the right kind and name the right file. The
sets themselves, both parts of each split, must give no finding at all. `--all` does every corruption (32) to every set
that it can be done to. Ends with status 1 where fewer than 24 of 25 are named or a good set is blamed.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import splits
from corruptions import ASKED, CORRUPTIONS, Copy, Corruption

from contractile.check import Finding, check_dataset
from contractile.dataset import pair_up
from contractile.images import read, read_labels

NEEDED = 24 / 25
FEWEST, MOST = 4, 12  # images of a copy


def split_sets(data: Path, folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    """(images, labels) of both parts of each set, as splits.py makes them."""
    sets: dict[str, list[tuple[Path, Path]]] = {}
    for name, split in splits.SPLITS.items():
        out, suffix = folder / name, ".tif" if name == "isbi2012" else ""
        out.mkdir()
        split(data / name, out)
        sets[name] = [(out / f"{part}_images{suffix}", out / f"{part}_labels{suffix}") for part in ("train", "test")]
    return sets


def draw_copy(place: tuple[Path, Path], folder: Path, rng: np.random.Generator) -> Copy:
    """A few images of a set, with annotated objects, in their order."""
    pairs = pair_up(*place)
    count = int(rng.integers(FEWEST, MOST + 1))
    kept: list[tuple[str, np.ndarray, np.ndarray]] = []
    for number in sorted(rng.choice(len(pairs), min(count, len(pairs)), replace=False)):
        labels = read_labels(pairs[number].labels)
        if (labels > 0).any():
            kept.append((f"im{len(kept):03d}", read(pairs[number].image).pixels[0], labels.astype(np.uint16)))
    return Copy(folder, kept)


def is_right(finding: Finding, corruption: Corruption, file: str) -> bool:
    named = finding.kind == corruption.named or corruption.named in f"{finding.problem}; {finding.cure}"
    return named and (file in f"{finding.where} {finding.problem}" or " more" in finding.where)


def try_one(corruption: Corruption, place: tuple[Path, Path], rng: np.random.Generator) -> list[tuple[bool, Finding]]:
    """The findings about a corrupted copy, and whether each is the right one."""
    folder = Path(tempfile.mkdtemp(prefix="doctor_"))
    try:
        copy = draw_copy(place, folder / "set", rng)
        file = corruption.act(copy, rng)
        return [(is_right(one, corruption, file), one) for one in check_dataset(copy.images, copy.labels)]
    finally:
        shutil.rmtree(folder)


def plan(sets: dict[str, list[tuple[Path, Path]]], *, every: bool) -> Iterator[tuple[Corruption, str]]:
    """The corruptions and the set of each: in turn, or all that can be done."""
    for number, corruption in enumerate(CORRUPTIONS if every else CORRUPTIONS[:ASKED]):
        turn = number % len(corruption.sets)
        names = corruption.sets if every else corruption.sets[turn : turn + 1]
        yield from ((corruption, name) for name in names if name in sets)


def describe(findings: list[tuple[bool, Finding]]) -> str:
    """The right finding, else the first one, and how many others there are."""
    ordered = sorted(findings, key=lambda one: not one[0])
    if not ordered:
        return "nothing found"
    more = f" (and {len(ordered) - 1} more: {', '.join(one.kind or one.level for _, one in ordered[1:])})"
    return ordered[0][1].problem[:90] + (more if len(ordered) > 1 else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--all", action="store_true", dest="every")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("contractile").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        sets = split_sets(arguments.data, Path(folder))
        print("| corruption | set | named | finding |\n|---|---|---|---|")
        done = named = 0
        for corruption, name in plan(sets, every=arguments.every):
            rng = np.random.default_rng([arguments.seed, done])
            findings = try_one(corruption, sets[name][0], rng)
            right = any(ok for ok, _ in findings)
            done, named = done + 1, named + right
            print(f"| {corruption.title} | {name} | {'yes' if right else 'NO'} | {describe(findings)} |", flush=True)
        print(f"\n{named} of {done} named rightly\n\n| set | part | findings |\n|---|---|---|")
        blamed = 0
        for name, parts in sets.items():
            for part, place in zip(("train", "test"), parts, strict=True):
                found = check_dataset(*place)
                blamed += len(found)
                print(f"| {name} | {part} | {'; '.join(one.problem for one in found) or 'none'} |", flush=True)
    print(f"\n{blamed} finding(s) about good sets")
    return int(named < NEEDED * done or blamed > 0)


if __name__ == "__main__":
    sys.exit(main())
