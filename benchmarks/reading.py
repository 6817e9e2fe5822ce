"""How long reading takes, beside tifffile and scikit-image, and beside an earlier state of this package.

    python benchmarks/reading.py [--side 2048] [--pages 50] [--files 300] [--runs 15] [--against SRC]

Writes one file of each kind, reads it with `contractile.images` and with the libraries themselves (`tifffile.imread`,
`skimage.io.imread`; NumPy and Zarr for their own formats) in turns, and prints a Markdown table of medians. The files
are in the system's memory after the first turn, so that the disk does not count.

`--against` names the src folder of another state of the package (`git worktree add /tmp/before COMMIT`, then
/tmp/before/src). Both states read the same files in turns, each in a process of its own. Promised: no row takes more
than 10 % longer than before. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from ratios import judge

HERE = Path(__file__).parents[1] / "src"
SHORTEST_S = 0.05  # quick work is repeated until it has taken so long
ALLOWED = 1.1  # times as long as before

Work = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One kind of file: where it is, how this package reads it, and how others do."""

    path: str
    how: str  # whole, labels, page or all
    peers: Mapping[str, Callable[[Path], Any]]


def rows(pages: int) -> dict[str, Row]:
    page = pages // 2
    both = {"tifffile": tifffile.imread, "scikit-image": read_with_skimage}
    picture = {"scikit-image": read_with_skimage}
    return {
        "TIFF": Row("plain.tif", "whole", both),
        "TIFF, zlib, tiles": Row("tiles.tif", "whole", both),
        "TIFF, zlib, labels": Row("tiles.tif", "labels", both),
        "ImageJ stack, one page": Row("stack.tif", "page", {"tifffile": lambda path: tifffile.imread(path, key=page)}),
        "ImageJ stack, all pages": Row("stack.tif", "all", both),
        "OME-TIFF, 3 channels": Row("image.ome.tif", "whole", both),
        "PNG, 8 bits": Row("8.png", "whole", picture),
        "PNG, 16 bits": Row("16.png", "whole", picture),
        "JPEG": Row("image.jpg", "whole", picture),
        "npy": Row("image.npy", "whole", {"numpy": np.load}),
        "OME-Zarr": Row("image.zarr", "whole", {"zarr": lambda path: zarr.open(path, mode="r")["0"][...]}),
        "folder of small PNGs": Row("small", "all", {"scikit-image": read_folder}),
    }


def read_with_skimage(path: Path) -> Any:
    import skimage.io  # slow to load, and the other processes do not need it

    return skimage.io.imread(path)


def read_folder(folder: Path) -> list[Any]:
    return [read_with_skimage(path) for path in sorted(folder.iterdir())]


def draw(side: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """(side, side): something smooth, and the noise of a camera."""
    y, x = np.mgrid[:side, :side] / 40
    return rng.poisson(300 + 250 * np.sin(y) * np.cos(x)).astype(np.uint16)


def write_files(folder: Path, *, side: int, pages: int, files: int) -> None:
    rng = np.random.default_rng(0)
    image = draw(side, rng)
    grey = (image >> 2).clip(0, 255).astype(np.uint8)
    part = max(16, side // 4)
    tifffile.imwrite(folder / "plain.tif", image)
    tifffile.imwrite(folder / "tiles.tif", image, compression="zlib", tile=(256, 256))
    stack = np.stack([draw(part, rng) for _ in range(pages)])
    tifffile.imwrite(folder / "stack.tif", stack, imagej=True, metadata={"axes": "TYX"})
    half = image[: max(16, side // 2), : max(16, side // 2)]
    ome = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "image.ome.tif", np.stack([half] * 3), ome=True, metadata=ome, photometric="minisblack")
    (folder / "8.png").write_bytes(imagecodecs.png_encode(grey))
    (folder / "16.png").write_bytes(imagecodecs.png_encode(image))
    (folder / "image.jpg").write_bytes(imagecodecs.jpeg_encode(np.stack([grey, grey >> 1, 255 - grey], axis=-1)))
    np.save(folder / "image.npy", image)
    group = zarr.open_group(folder / "image.zarr", mode="w")
    group.create_array("0", data=image, chunks=(min(512, side), min(512, side)))
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    (folder / "small").mkdir()
    for number in range(files):
        (folder / "small" / f"{number:03}.png").write_bytes(imagecodecs.png_encode(draw(min(side, 256), rng)))


def ours(row: Row, folder: Path) -> Work:
    """How this package, or the one that PYTHONPATH names, reads the file of a row."""
    from contractile.images import find, read, read_labels

    path = folder / row.path
    if row.how == "all":
        return lambda: [read(source) for source in find(path)]
    if row.how == "page":
        sources = find(path)
        return lambda: read(sources[len(sources) // 2])
    return lambda: (read_labels if row.how == "labels" else read)(path)


def take(work: Work) -> float:
    """Seconds that one call takes, of as many calls as fill `SHORTEST_S`."""
    calls, start = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= SHORTEST_S:
            return passed / calls


class Reader:
    """Another process, in which the state of the package at `source` reads files and says how long it took."""

    def __init__(self, source: Path, arguments: Sequence[str]) -> None:
        command = [sys.executable, __file__, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        found = Path(self._answer())
        if source.resolve() not in found.parents:
            self.__exit__()
            sys.exit(f"--against must be the src folder of a checkout, got {source}: the package at {found} was loaded")

    def seconds(self, name: str) -> float:
        assert self._process.stdin is not None
        print(name, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            sys.exit("the other state of the package cannot read one of the files; its error is above")
        return line

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def serve(folder: Path, pages: int) -> None:
    """The other side of `Reader`: a name comes in, the seconds go out."""
    import contractile

    print(contractile.__file__, flush=True)
    table, works = rows(pages), dict[str, Work]()
    for line in sys.stdin:
        name = line.strip()
        if name not in works:
            works[name] = ours(table[name], folder)
            works[name]()
        print(take(works[name]), flush=True)


def measure(contenders: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Seconds of each contender in each run; who begins changes from run to run."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        for place in range(len(names)):
            name = names[(run + place) % len(names)]
            seconds[name].append(contenders[name]())
    return seconds


def ratio(seconds: Mapping[str, list[float]], one: str, other: str) -> float:
    """How many times as long `one` takes as `other`: the median over runs, since load differs from run to run."""
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def slower(changes: Mapping[str, float]) -> list[str]:
    """The rows that take more than 10 % longer than before."""
    return [name for name, change in changes.items() if change > ALLOWED]


def compare(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Print the table; how many times as fast as the fastest peer, and as long as before, each row is."""
    speeds: dict[str, float] = {}
    changes: dict[str, float] = {}
    serving = ["--serve", str(folder), "--pages", str(arguments.pages)]
    also = (" now / before |", "--:|") if arguments.against else ("", "")
    print(f"| file | contractile | others | ours / fastest |{also[0]}\n|---|--:|---|--:|{also[1]}")
    with ExitStack() as stack:
        states = {"before": arguments.against, "now": HERE} if arguments.against else {}
        readers = {name: stack.enter_context(Reader(source, serving)) for name, source in states.items()}
        for name, row in rows(arguments.pages).items():
            works = {"ours": ours(row, folder)}
            works |= {peer: lambda read=read, path=folder / row.path: read(path) for peer, read in row.peers.items()}
            for work in works.values():
                work()  # compiles, imports, fills the system's memory
            contenders = {who: lambda work=work: take(work) for who, work in works.items()}
            contenders |= {who: lambda reader=reader, row=name: reader.seconds(row) for who, reader in readers.items()}
            seconds = measure(contenders, arguments.runs)
            medians = {who: statistics.median(values) for who, values in seconds.items()}
            fastest = min(row.peers, key=lambda peer: medians[peer])
            speeds[name] = ratio(seconds, fastest, "ours")
            others = ", ".join(f"{peer} {1000 * medians[peer]:.2f} ms" for peer in row.peers)
            line = f"| {name} | {1000 * medians['ours']:.2f} ms | {others} | {ratio(seconds, 'ours', fastest):.2f} |"
            if readers:
                changes[name] = ratio(seconds, "now", "before")
                line += f" {changes[name]:.2f} |"
            print(line, flush=True)
    return speeds, changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--against", type=Path, help="the src folder of another state of the package")
    parser.add_argument("--record", action="store_true", help="keep these ratios as the ones to hold")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.pages)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), side=arguments.side, pages=arguments.pages, files=arguments.files)
        speeds, changes = compare(Path(folder), arguments)
    late = slower(changes)
    for name in late:
        print(f"SLOWER: {name}: {changes[name]:.2f} times as long as before, allowed {ALLOWED:.2f}")
    held = judge("reading", speeds, record=arguments.record)
    sys.exit(0 if held and not late else 1)


if __name__ == "__main__":
    main()
