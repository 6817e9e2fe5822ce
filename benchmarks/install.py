"""Does the wheel work where nothing else is? What does it bring?

    python benchmarks/install.py [--python python3.11 ...] [--against REF] [--quick] [--folder DIR]

A wheel is built from this checkout. For each Python that is found, it is installed into an empty environment, and
`contractile demo` runs there, in a folder of its own (`--quick`: a small prediction in its place). Printed are the
number of packages and their size, with and without PyTorch and what PyTorch alone asks for (its builds differ by
gigabytes). With `--against`, the wheel of another commit is installed for the first Python in the same way. Exits with
1 where something failed, where a package came to those of REF, or where they grew by more than a megabyte.

Needs `pip install build`, and the network that pip needs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
GROWTH_MB = 1.0
# Runs in the new environment: names, versions, requirements and sizes of what is installed there.
COUNT = """
import json, platform, re
from importlib.metadata import distributions
found = {}
for one in distributions():
    size = sum(file.stat().st_size for file in map(one.locate_file, one.files or ()) if file.is_file())
    name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
    needs = [re.match(r"[\\w.-]+", line)[0] for line in one.requires or () if "extra ==" not in line]
    found[name] = {"version": one.version, "size": size, "needs": [re.sub(r"[-_.]+", "-", n).lower() for n in needs]}
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""
DRAW = """
import numpy as np
import contractile as ct
from contractile.images import write_image
from contractile.synthetic import SceneConfig
image, _ = ct.draw_scene(SceneConfig(shape=(128, 128)), np.random.default_rng(0))
write_image("image.tif", np.asarray(image).reshape(1, 128, 128).astype(np.uint16))
"""

Packages = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Installed:
    """What an environment holds: MB in all, and without PyTorch and what it alone needs."""

    python: str
    packages: Packages
    all_mb: float
    others_mb: float


def build(source: Path, out: Path) -> Path:
    """The wheel of a source tree."""
    words = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return next(out.glob("*.whl"))


def check_out(ref: str, folder: Path) -> Path:
    """The files of a commit, in a folder of their own."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", ref], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def install(python: str, wheel: Path, folder: Path) -> Path:
    """The Python of a new environment that holds the wheel and what it needs."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([inside, "-m", "pip", "install", "--quiet", str(wheel)], check=True, env=bare())
    return inside


def count(inside: Path) -> Installed:
    """What is in an environment, pip left out."""
    told = subprocess.run([inside, "-c", COUNT], check=True, capture_output=True, text=True, env=bare()).stdout
    known = json.loads(told)
    packages: Packages = {name: about for name, about in known["packages"].items() if name != "pip"}
    others = reached(packages, "contractile", without="torch")
    return Installed(known["python"], packages, size_mb(packages, set(packages)), size_mb(packages, others))


def reached(packages: Packages, start: str, *, without: str) -> set[str]:
    """What a package needs, and what that needs, without the ways through one of them."""
    found, open_ends = set[str](), [start]
    while open_ends:
        name = open_ends.pop()
        if name in found or name == without or name not in packages:
            continue
        found.add(name)
        open_ends += list(packages[name]["needs"])  # type: ignore[call-overload]
    return found


def size_mb(packages: Packages, names: set[str]) -> float:
    return sum(int(str(packages[name]["size"])) for name in names) / 1e6


def bare() -> dict[str, str]:
    """The environment without what leads back to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def use(inside: Path, folder: Path, *, quick: bool) -> bool:
    """Whether the command works in an environment, in an empty folder that is no part of the checkout."""
    folder.mkdir()
    command = inside.with_name("contractile")
    tasks = [[command, "--help"], [command, "info", "nuclei"], [command, "demo", "--out", "demo"]]
    if quick:
        tasks[2:] = [[inside, "-c", DRAW], [command, "predict", "nuclei", "image.tif", "--out", "results"]]
    for words in tasks:
        done = subprocess.run(words, cwd=folder, env=bare(), capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(map(str, words[:2]))} ended with {done.returncode}:\n{done.stderr}", file=sys.stderr)
            return False
    print(f"\n{done.stdout}", file=sys.stderr)
    return True


def row(found: Installed, wheel: Path, works: str, of: str = "") -> str:
    torch = found.packages["torch"]["version"]
    sizes = f"{len(found.packages)} | {found.all_mb:.0f} | {found.others_mb:.0f} | {wheel.stat().st_size / 1e6:.1f}"
    return f"| {found.python}{of} | {torch} | {sizes} | {works} |"


def has_grown(new: Installed, old: Installed) -> bool:
    """Whether a package came, or the packages beside PyTorch grew; each that came is printed."""
    came = sorted(set(new.packages) - set(old.packages))
    print(f"\npackages that came: {', '.join(came) or 'none'}; {new.others_mb - old.others_mb:+.1f} MB without PyTorch")
    return bool(came) or new.others_mb - old.others_mb > GROWTH_MB


def is_there(python: str) -> bool:
    """Whether a Python of this name runs: a name alone may lead to a version that is not installed."""
    return shutil.which(python) is not None and not subprocess.run([python, "-c", ""], capture_output=True).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help=f"may be given several times; {', '.join(PYTHONS)}")
    parser.add_argument("--against", help="another commit, whose base installation must not be smaller")
    parser.add_argument("--quick", action="store_true", help="a small prediction in place of the demo")
    parser.add_argument("--folder", type=Path, help="for the environments: several GB")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        wheel = build(ROOT, folder / "wheel")
        print(
            "| Python | PyTorch | packages | MB | MB without PyTorch | MB of the wheel | works |\n"
            "|---|---|--:|--:|--:|--:|---|"
        )
        first: tuple[str, Installed] | None = None
        for python in arguments.python or PYTHONS:
            if not is_there(python):
                print(f"| {python} | | | | | | not on this machine |", flush=True)
                continue
            inside = install(python, wheel, folder / f"env {Path(python).name}")
            found, works = count(inside), use(inside, folder / f"work {Path(python).name}", quick=arguments.quick)
            failed |= not works
            print(row(found, wheel, "yes" if works else "NO"), flush=True)
            first = first or (python, found)
            shutil.rmtree(folder / f"env {Path(python).name}")
        if arguments.against and first:
            other = build(check_out(arguments.against, folder / "other"), folder / "other wheel")
            found = count(install(first[0], other, folder / "env other"))
            print(row(found, other, "not tried", f", {arguments.against}"), flush=True)
            failed |= has_grown(first[1], found)
    return int(failed or first is None)


if __name__ == "__main__":
    sys.exit(main())
