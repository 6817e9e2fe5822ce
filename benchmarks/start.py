"""How long a small task takes from the command to its result, when all that can be kept is kept already.

    python benchmarks/start.py [--model nuclei] [--repeats 5] [--folder DIR]

An image of 512 x 512 pixels is made; then `contractile predict`, `contractile info` of the image and of the model,
`contractile --help` and `import contractile` run several times, each in a process of its own, after one run that does
not count: it fills the caches. Printed are the median seconds, those of the processor, the largest memory, and what was
loaded of the libraries that take long. The seconds of a command are those of its process; those of the import are
without the start of Python. Promised: written labels in at most 2 s, the help in 0.3 s, the import in 0.1 s. Exits with
1 where a median is longer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

SIDE = 512
PREDICT, HELP, IMPORT = "predict, 512 x 512 pixels", "--help", "import contractile"
MOST_S = {PREDICT: 2.0, HELP: 0.3, IMPORT: 0.1}
HEAVY = ("torch", "numba", "scipy.ndimage", "zarr", "distributed", "matplotlib", "openvino")
PROGRAM = """
import sys
from contractile.cli import main
try:
    main()
finally:
    loaded = [name for name in {heavy} if name in sys.modules]
    open({note!r}, "w").write(", ".join(loaded))
"""
IMPORTING = """
import sys, time
begun = time.perf_counter()
import contractile
seconds = time.perf_counter() - begun
loaded = [name for name in {heavy} if name in sys.modules]
open({note!r}, "w").write(", ".join(loaded))
print(seconds)
"""


def make(path: Path) -> None:
    """A picture of cells, 16 bits."""
    import numpy as np

    from contractile.images.writing import write_image
    from contractile.synthetic import SceneConfig, draw_scene

    image, _ = draw_scene(SceneConfig(shape=(SIDE, SIDE)), np.random.default_rng(0))
    write_image(path, np.asarray(image).reshape(1, SIDE, SIDE).astype(np.uint16))


def run(words: list[str] | None, note: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and largest memory in MB of a command; `note` takes what it loaded.

    Without `words` the package is imported, and the seconds are those of the import alone.
    """
    program = (IMPORTING if words is None else PROGRAM).format(heavy=HEAVY, note=str(note))
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        process = subprocess.Popen([sys.executable, "-c", program, *(words or ())], stdout=said, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        for file in (said, told):
            file.seek(0)
        if status:
            name = IMPORT if words is None else f"contractile {' '.join(words)}"
            raise SystemExit(f"{name} ended with {status}: {told.read().decode(errors='replace')}")
        if words is None:
            seconds = float(said.read())
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def beyond(found: Mapping[str, float]) -> list[str]:
    """A line for each task that took longer than is promised."""
    late = {task: most for task, most in MOST_S.items() if found[task] > most}
    return [f"{task}: {found[task]:.3f} s, at most {most:g} s are promised" for task, most in late.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        image, note = folder / "image.tif", folder / "loaded.txt"
        # in another process: a child begins with the memory of this one, which would count as its own
        subprocess.run([sys.executable, __file__, "--make", str(image)], check=True)
        predict = ["predict", arguments.model, str(image), "--out", str(folder / "out")]
        tasks: dict[str, list[str] | None] = {
            PREDICT: predict,
            "the same, the diameter given": [*predict, "--diameter", "15"],
            "info IMAGE": ["info", str(image)],
            "info MODEL": ["info", arguments.model],
            HELP: ["--help"],
            IMPORT: None,
        }
        print("| command | seconds | of the processor | MB | loaded |\n|---|--:|--:|--:|---|")
        medians: dict[str, float] = {}
        for task, words in tasks.items():
            run(words, note)
            found = [run(words, note) for _ in range(arguments.repeats)]
            seconds, busy, memory = (statistics.median(column) for column in zip(*found, strict=True))
            medians[task] = seconds
            print(
                f"| {task} | {seconds:.3f} | {busy:.2f} | {memory:.0f} | {note.read_text() or 'nothing'} |", flush=True
            )
    late = beyond(medians)
    print("\n" + ("\n".join(late) or "all starts are as quick as promised"))
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
