"""Damaged files for every reader: a clear line of ours or a result, within bounds of time and memory; all else fails.

    python tests/fuzz/run.py --count 10000 [--reader image ...] [--seed 0] [--keep FOLDER]

Each input is read in a process of its own, a fork of one that has imported everything. The same seed gives the same
inputs. Inputs that fail are kept in a folder; a table is printed at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.mutations import mutate
from fuzz.readers import READERS, warm_up

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 10  # for one input
MEMORY = 300 * 2**20  # bytes that an input may add to the process
SPACE = 4 * 2**30  # bytes of addresses that it may add: what goes beyond is an error of memory at once
LONGEST = 2000  # characters of an error
FINE = ("read", "refused")


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def row(self, reader: str) -> str:
        wrong = sum(count for outcome, count in self.outcomes.items() if outcome not in FINE)
        return (
            f"| {reader} | {self.outcomes.total()} | {self.outcomes['read']} | {self.outcomes['refused']} | {wrong} | "
            f"{self.slowest:.1f} | {self.largest / 2**20:.0f} |"
        )


HEAD = "| reader | inputs | read | refused | wrong | slowest, s | most memory, MB |\n|---|--:|--:|--:|--:|--:|--:|"


def inputs(reader: str, count: int, seed: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Entries of the corpus of a reader, each with one of its files damaged: (name, path in the corpus -> content)."""
    entries = sorted((CORPUS / READERS[reader][0]).iterdir())
    for number in range(count):
        rng = Random(f"{seed} {reader} {number}")
        entry = entries[number % len(entries)]
        paths = sorted(path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else [entry]
        files = {str(path.relative_to(entry.parent)): path.read_bytes() for path in paths}
        which = rng.choice(sorted(files))
        if len(files) > 1 and rng.random() < 0.1:
            del files[which]
        else:
            files[which] = mutate(files[which], which, rng)
        yield entry.name, files


def try_one(reader: str, path: Path) -> tuple[str, float, int]:
    """(outcome, seconds, bytes added) of reading a path in a process of its own."""
    start, (receive, send) = time.monotonic(), os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        os.write(send, _read(reader, path).encode(errors="backslashreplace")[: 2**15])
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - start
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("too slow" if number == signal.SIGALRM else f"killed by {signal.Signals(number).name}"), seconds, 0
    outcome, _, added = told.rpartition(" ")
    return (outcome if int(added) < MEMORY else f"memory: {outcome}"), seconds, int(added)


def _read(reader: str, path: Path) -> str:
    """What becomes of one input: `read`, `refused`, or what went wrong; and the bytes that it added."""
    from contractile.errors import ContractileError

    before = _resident()
    resource.setrlimit(resource.RLIMIT_AS, (_addresses() + SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    warnings.simplefilter("error")
    sink = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(sink, standard)
    try:
        READERS[reader][1](path)
        outcome = "read"
    except ContractileError as error:
        text = str(error)
        clear = (
            len(text.splitlines()) == 1 and text.isprintable() and len(text) < LONGEST and "weights_only" not in text
        )
        outcome = "refused" if clear else f"not one clear line: {text[:300]!r}"
    except BaseException as error:  # whatever it is, it is what is looked for
        outcome = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return f"{outcome} {max(0, _resident() - before)}"


def _resident() -> int:
    """The most bytes of memory that this process has had; a fork begins with what it inherits."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz(reader: str, count: int, *, seed: int = 0, keep: Path | None = None) -> Tally:
    """Read `count` damaged inputs, and keep those that fail in `keep`."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, files) in enumerate(inputs(reader, count, seed)):
            place = Path(folder, str(number))
            for relative, content in files.items():
                (place / relative).parent.mkdir(parents=True, exist_ok=True)
                (place / relative).write_bytes(content)
            outcome, seconds, added = try_one(reader, place / name)
            tally.outcomes[outcome if outcome in FINE else outcome.split(":")[0]] += 1
            tally.slowest, tally.largest = max(tally.slowest, seconds), max(tally.largest, added)
            if outcome not in FINE:
                tally.failures.append(f"{reader} {seed} {number} ({name}): {outcome}")
                if keep is not None:
                    shutil.copytree(place, keep / f"{reader}-{number}", dirs_exist_ok=True)
            shutil.rmtree(place)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    warm_up()
    print(HEAD, flush=True)
    tallies = []
    for reader in arguments.reader:
        tallies.append(fuzz(reader, arguments.count, seed=arguments.seed, keep=arguments.keep))
        print(tallies[-1].row(reader), flush=True)
    failures = [line for tally in tallies for line in tally.failures]
    print(*failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
