"""How long a small task takes from the command to its result, when everything that can be kept is kept already.

    python benchmarks/start.py [--model nuclei] [--repeats 5] [--folder DIR]

An image of 512 x 512 pixels is made; then `contractile predict`, `contractile info` of the image and of the model, and
`contractile --help` run several times, each in a process of its own, after one run that does not count: it fills the
caches. Printed are the median seconds, those of the processor, the largest memory, and what was loaded of the libraries
that take long. Promised: written labels in at most 2 s. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE = 512
MOST_S = 2.0
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


def make(path: Path) -> None:
    """A picture of cells, 16 bits."""
    import numpy as np

    from contractile.images.writing import write_image
    from contractile.synthetic import SceneConfig, draw_scene

    image, _ = draw_scene(SceneConfig(shape=(SIDE, SIDE)), np.random.default_rng(0))
    write_image(path, np.asarray(image).reshape(1, SIDE, SIDE).astype(np.uint16))


def run(words: list[str], note: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and largest memory in MB of a command; `note` takes what it loaded."""
    program = PROGRAM.format(heavy=HEAVY, note=str(note))
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    told = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"contractile {' '.join(words)} ended with {status}: {told.decode(errors='replace')}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


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
        tasks = {
            "predict, 512 x 512 pixels": predict,
            "the same, the diameter given": [*predict, "--diameter", "15"],
            "info IMAGE": ["info", str(image)],
            "info MODEL": ["info", arguments.model],
            "--help": ["--help"],
        }
        print("| command | seconds | of the processor | MB | loaded |\n|---|--:|--:|--:|---|")
        first = 0.0
        for task, words in tasks.items():
            run(words, note)
            found = [run(words, note) for _ in range(arguments.repeats)]
            seconds, busy, memory = (statistics.median(column) for column in zip(*found, strict=True))
            first = first or seconds
            print(
                f"| {task} | {seconds:.2f} | {busy:.2f} | {memory:.0f} | {note.read_text() or 'nothing'} |", flush=True
            )
    print(f"\n{first:.2f} s from the command to written labels; at most {MOST_S:g} s are promised")
    return int(first > MOST_S)


if __name__ == "__main__":
    sys.exit(main())
