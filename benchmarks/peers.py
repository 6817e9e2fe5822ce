"""What comes of the same images in the same minutes on two cores, with each tool that installs from a registry.

    python benchmarks/peers.py dic-hela DATA --tool stardist [--minutes 10] [--envs DIR] [--out DIR]
    python benchmarks/peers.py dsb2018 DATA --all

DATA is the folder that `splits.py` made. Each tool runs in an environment of its own below `--envs`, made by the lines
of pip that are printed, with its own defaults (`peer_*.py` and `plain_unet.py` say which ones ten minutes rule out).
The minutes count from the begin of training, with the tool's own preprocessing, and without imports; those of
contractile count the whole command. No tool sees the test part before it predicts it. What is predicted is scored by
`contractile evaluate`, and one row for each tool is printed: the score, steps and seconds of training, seconds of
prediction, the most memory that its processes shared between them (MB, Linux), the size of its environment (MB) and the
packages in it. Finished tools are kept in DIR/peers.json, and a killed run goes on with the others. Nothing else should
use the machine.

Not run: BiaPy. It needs torchvision and about 90 packages beside PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import tifffile
from PIL import Image

HERE = Path(__file__).parent
TORCH = ["torch>=2.6,<2.14"]
CORES = 2
PARTS = ("train_images", "train_labels", "test_images")
COLUMNS = (
    "tool", "dataset", "score", "steps", "training, s", "prediction, s", "memory, MB", "environment, MB", "packages",
    "note",
)  # fmt: skip
SCORES = {"dic-hela": "seg", "dsb2018": "ap", "isbi2012": "isbi"}
LEVELS = (0.5, 0.75)  # of `ap`


class Tool(NamedTuple):
    """`lines` of words for pip, the package whose version is told, the script of the tool, and what it recommends."""

    lines: tuple[list[str], ...]
    package: str
    script: str = ""
    membranes: bool = True
    note: str = ""


OURS = [f"{HERE.parent}[openvino]"]
PLAIN = ["tifffile", "scikit-image"]
TOOLS = {
    "contractile": Tool((TORCH, OURS), "contractile", note="recommended: as here, or from a pretrained model"),
    "stardist": Tool(
        (["stardist", "tensorflow-cpu"],), "stardist", "peer_stardist.py", membranes=False,
        note="recommended: a GPU, 400 epochs of 100 steps, or a pretrained network",
    ),
    "nnunet": Tool(
        (TORCH, [*TORCH, "nnunetv2"]), "nnunetv2", "peer_nnunet.py",
        note="recommended: a GPU of 10 GB, 1000 epochs of 250 steps, five networks",
    ),
    "unet": Tool((TORCH, [*TORCH, *PLAIN]), "torch", "plain_unet.py", note="a plain network; usual: a GPU, hours"),
    "forest": Tool(
        (TORCH, OURS, ["scikit-learn"]), "scikit-learn", "peer_forest.py",
        note="usual: strokes, painted in turns with predictions. Filters and objects by contractile",
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SCORES)
    parser.add_argument("data", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tool", choices=TOOLS)
    which.add_argument("--all", action="store_true", help="every tool that does this dataset")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--envs", type=Path, default=Path("runs/peers/envs"))
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    given = parser.parse_args()
    given.envs, given.out, given.data = (path.resolve() for path in (given.envs, given.out, given.data))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # children keep to these cores, too
    names = [name for name, tool in TOOLS.items() if tool.membranes or given.dataset != "isbi2012"]
    if given.tool and given.tool not in names:
        parser.error(f"{given.tool} finds objects, and {given.dataset} has membranes: {', '.join(names)}")
    return compare(given, [given.tool] if given.tool else names)


def compare(given: argparse.Namespace, names: list[str]) -> int:
    """Run the tools that are not finished, and print the rows of all. 1 where a tool failed."""
    failed = []
    for name in names:
        key = f"{given.dataset}, {name}, {given.minutes:g}"
        if key in read_finished(given.out):
            continue
        try:
            found = measure(given, name)
        except subprocess.CalledProcessError as error:
            print(f"{name} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        keep(given.out, key, found)
    finished = read_finished(given.out)
    wanted = (f"{given.dataset}, {name}, {given.minutes:g}" for name in names)
    print("\n".join([format_row(COLUMNS), "|" + "---|" * len(COLUMNS)]))
    print("\n".join(format_row([finished[key][column] for column in COLUMNS]) for key in wanted if key in finished))
    return 1 if failed else 0


def read_finished(out: Path) -> dict[str, dict[str, Any]]:
    path = out / "peers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def keep(out: Path, key: str, found: dict[str, Any]) -> None:
    """Add a row to the file of finished tools, whole or not at all."""
    text = json.dumps({**read_finished(out), key: found}, indent=1)
    (out / "peers.part").write_text(text, encoding="utf-8")
    os.replace(out / "peers.part", out / "peers.json")


def format_row(cells: Any) -> str:
    shown = (f"{cell:.1f}" if isinstance(cell, float) else str(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"


def measure(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Install, train, predict and score with a tool: the cells of its row by column."""
    tool, env = TOOLS[name], given.envs / name
    install(tool, env)
    out = given.out / f"{given.dataset}-{name}-{given.minutes:g}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    told = run_tool(given, tool, env, out) if tool.script else run_ours(given, env, out)
    files, packages = measure_environment(env)
    return {
        "tool": f"{name} ({tool.package} {version(env, tool.package)})",
        "dataset": given.dataset,
        "score": score(given, out),
        "steps": told["steps"],
        "training, s": told["train_seconds"],
        "prediction, s": told["predict_seconds"],
        "memory, MB": round(told["memory"] / 2**20),
        "environment, MB": round(files / 1e6),
        "packages": packages,
        "note": tool.note,
    }


def install(tool: Tool, env: Path) -> None:
    """Make the environment, unless it is there as these lines make it. Each line is printed."""
    python, marker = env / "bin" / "python", env / "installed.txt"
    commands = [[str(python), "-m", "pip", "install", *line] for line in tool.lines]
    wanted = "\n".join(" ".join(command) for command in commands) + (commit() if OURS in tool.lines else "")
    if marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
        return
    if not python.exists():
        commands.insert(0, [sys.executable, "-m", "venv", str(env)])
    for command in commands:
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
    marker.write_text(wanted, encoding="utf-8")


def measure_environment(env: Path) -> tuple[int, int]:
    """Bytes of the files of an environment, and how many packages it has (pip is one)."""
    files = (path for path in env.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files), len(list(env.glob("lib/python*/site-packages/*.dist-info")))


def version(env: Path, package: str) -> str:
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    words = [str(env / "bin" / "python"), "-c", ask]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment()).stdout.strip()


def commit() -> str:
    ask = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(ask, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()


def environment() -> dict[str, str]:
    """That of this process without what would lead to other packages or fewer threads."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def run_tool(given: argparse.Namespace, tool: Tool, env: Path, out: Path) -> dict[str, Any]:
    plain = given.out / f"{given.dataset}-plain"
    write_plain(given.data, plain)
    words = [str(env / "bin" / "python"), str(HERE / tool.script), "--data", str(plain)]
    words += ["--out", str(out / "predicted"), "--seconds", str(60 * given.minutes)]
    memory = watch([*words, *(["--membranes"] if given.dataset == "isbi2012" else [])], out / "told.txt")[1]
    return {**json.loads((out / "predicted" / "told.json").read_text(encoding="utf-8")), "memory": memory}


def run_ours(given: argparse.Namespace, env: Path, out: Path) -> dict[str, Any]:
    """Contractile by its command line, as anybody would call it."""
    ending = ".tif" if given.dataset == "isbi2012" else ""
    images, truths, tests = (str(given.data / f"{part}{ending}") for part in PARTS)
    command, run = [str(env / "bin" / "contractile")], str(out / "run")
    train = [*command, "train", images, truths, "--out", run, "--minutes", str(given.minutes)]
    product = "probabilities" if given.dataset == "isbi2012" else "labels"
    trained, most = watch(train, out / "train.txt")
    predict = [*command, "predict", run, tests, "--out", str(out / "predicted"), "--save", product]
    predicted, more = watch(predict, out / "predict.txt")
    ask = "import sys; from contractile.model import load; print(load(sys.argv[1]).card.provenance['steps'])"
    words = [str(env / "bin" / "python"), "-c", ask, run]
    steps = subprocess.run(words, capture_output=True, text=True, check=True, env=environment()).stdout
    return {
        "steps": int(steps), "train_seconds": trained, "predict_seconds": predicted, "memory": max(most, more),
    }  # fmt: skip


def watch(words: list[str], log: Path) -> tuple[float, int]:
    """Run a command, and return its seconds and the most bytes that it and its children held."""
    begun, most = time.monotonic(), 0
    with log.open("w") as file:
        process = psutil.Popen(words, stdout=file, stderr=file, env=environment())
        while process.poll() is None:
            most = max(most, held(process))
            time.sleep(0.5)
    if process.returncode:
        print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, words)
    return time.monotonic() - begun, most


def held(process: Any) -> int:
    """Bytes of a process and its children; what n of them share counts as an n-th for each."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass  # it ended meanwhile
    return total


def write_plain(data: Path, plain: Path) -> None:
    """The images and annotations as TIFFs of one page without compression, which every tool reads. Once."""
    if plain.is_dir():
        return
    part_done = plain.with_name(plain.name + ".part")
    shutil.rmtree(part_done, ignore_errors=True)
    for part in PARTS:
        (part_done / part).mkdir(parents=True)
        for name, pixels in read_part(data, part):
            tifffile.imwrite(part_done / part / f"{name}.tif", pixels)
    part_done.rename(plain)


def read_part(data: Path, part: str) -> Any:
    """Names and pixels (Y, X), of the pages of a stack or the files of a folder. White of membranes becomes 1."""
    stack = data / f"{part}.tif"
    if stack.is_file():
        for number, page in enumerate(tifffile.imread(stack)):
            yield f"{part}_{number:02}", (page > 0).astype(np.uint8) if part == "train_labels" else page
        return
    for path in sorted((data / part).iterdir()):
        if not path.name.startswith("."):
            yield path.stem, tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def score(given: argparse.Namespace, out: Path) -> str:
    """The score of the dataset, by `contractile evaluate`."""
    membranes = given.dataset == "isbi2012"
    predicted = str(out / "predicted" / "*_probabilities.tif") if membranes else str(out / "predicted")
    truth = str(given.data / f"test_labels{'.tif' if membranes else ''}")
    words = [sys.executable, "-m", "contractile.cli", "evaluate", predicted, truth, "--scores", SCORES[given.dataset]]
    words += ["--json", str(out / "scores.json"), *(["--probabilities"] if membranes else [])]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return format_score(given.dataset, json.loads((out / "scores.json").read_text(encoding="utf-8")))


def format_score(dataset: str, found: dict[str, Any]) -> str:
    """What the table shows of the scores of a set, as `contractile evaluate --json` writes them."""
    if dataset == "dsb2018":
        detail = found["details"]["ap"]
        by_iou = dict(zip(detail["iou"], detail["by_iou"], strict=True))
        return ", ".join(f"AP {level:g} {by_iou[level]:.3f}" for level in LEVELS)
    shown = {"seg": "SEG"} if dataset == "dic-hela" else {"v_rand": "V_Rand", "v_info": "V_Info"}
    return ", ".join(f"{title} {found[name]:.3f}" for name, title in shown.items())


if __name__ == "__main__":
    sys.exit(main())
