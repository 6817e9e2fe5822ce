"""Memory, time and objects cut or changed by tiles, beside other tools that predict large images, with one network.

    python -m venv peers && peers/bin/pip install --no-deps monai torch-em bioimage-cpp tqdm
    python benchmarks/tilings.py --python peers/bin/python [--side 8192] [--window 512] [--model nuclei] [--diameter 15]

An OME-Zarr of cells is predicted by each tool in a process of its own, from file to labels in a file. The peers'
environment needs nothing but them: it is shown the packages of this one, with the same PyTorch. All run the network of
the model file in float32 PyTorch, with the grey values and the decoding of the model, so that tiling alone differs:

- contractile: the command line, in float32 PyTorch, and as users get it;
- MONAI: `sliding_window_inference`, windows that overlap by a quarter, constant and Gaussian weights. Its maps are in
  memory as a whole, and decoded at once;
- torch-em: `predict_with_halo`, from Zarr to Zarr, a halo of 64 pixels; the maps are decoded at once. Its package asks
  for torchvision and more when it is imported, so the one file with this function is loaded without the rest;
- labels of each window by itself, not sewn, of maps without any seam: what a tool does that labels block by block.

The reference is decoded at once from our map. An object is changed where no other one overlaps it with an IoU of 0.9,
and cut where most of its pixels at the faces of blocks (windows) have another label on the other side. Promised: none
is cut by contractile, and none is changed in float32. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from memory import make

OVERLAP, HALO = 0.25, 64
SAME = 0.9  # IoU of an object that is as it was
MISSING = 3  # exit status where a peer is not installed


class Tool(NamedTuple):
    """A row of the table: `words` of our command line, `peer` for what runs in the environment of the peers."""

    title: str
    kind: str
    words: tuple[str, ...] = ()
    peer: bool = False


EXACT = ("--engine", "torch", "--precision", "float32")
REFERENCE = Tool("reference: our map, decoded at once", "reference")
OURS = (Tool("contractile, float32 PyTorch", "exact", EXACT), Tool("contractile, as users get it", "default"))
TOOLS = (
    REFERENCE,
    *OURS,
    Tool("MONAI sliding window, constant", "constant", peer=True),
    Tool("MONAI sliding window, Gaussian", "gaussian", peer=True),
    Tool("torch-em, with halo", "halo", peer=True),
    Tool("each window by itself, not sewn", "unsewn"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of the environment in which the peers are")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--window", type=int, default=512, help="pixels along a side that the peers' network sees")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--diameter", type=float, default=15, help="one that the model was trained on")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        do_child(given)
        return 0
    given.folder = given.folder or Path(tempfile.mkdtemp())
    given.folder.mkdir(parents=True, exist_ok=True)
    if not image_of(given).exists():
        make(image_of(given), given.side)
    print("| tool | seconds | memory, MB | objects | at faces | cut | changed |\n|---|--:|--:|--:|--:|--:|--:|")
    found = {tool: row(given, tool) for tool in TOOLS}
    whole = all(found[tool].cut == 0 for tool in OURS) and found[OURS[0]].changed == 0
    print(f"\nno object is cut or changed by our blocks: {'holds' if whole else 'FAILS'}")
    return 0 if whole else 1


def image_of(given: argparse.Namespace) -> Path:
    return Path(given.folder) / f"{given.side}.zarr"


class Counts(NamedTuple):
    """Objects of the reference: those that lie across faces of blocks, those that are cut there, those that changed."""

    crossing: int = 0
    cut: int = 0
    changed: int = 0


def row(given: argparse.Namespace, tool: Tool) -> Counts:
    """Run a tool, compare its labels with those of the reference, and print what was found."""
    out = given.folder / tool.kind
    begun = time.monotonic()
    with (given.folder / "told.txt").open("w") as told:
        process = subprocess.Popen(command(given, tool, out), env=environment(tool), stdout=told, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
    seconds, memory = time.monotonic() - begun, usage.ru_maxrss / 1024
    if os.waitstatus_to_exitcode(status) == MISSING:
        print(f"| {tool.title} | not installed | | | | | |", flush=True)
        return Counts()
    if status:
        raise SystemExit(f"{tool.title} did not end well: {(given.folder / 'told.txt').read_text()[-2000:]}")
    labels, reference = (read(given.folder / kind, given) for kind in (tool.kind, REFERENCE.kind))
    counts = Counts(*count_cut(reference, labels, side_of(given, tool)), count_changed(reference, labels))
    objects = len(np.unique(labels[labels > 0]))
    print(f"| {tool.title} | {seconds:.1f} | {memory:.0f} | {objects} | {' | '.join(map(str, counts))} |", flush=True)
    return counts


def command(given: argparse.Namespace, tool: Tool, out: Path) -> list[str]:
    if tool in OURS:
        words = [sys.executable, "-m", "contractile.cli", "predict", given.model, str(image_of(given))]
        words += ["--out", str(out), "--format", "ome-zarr", "--diameter", str(given.diameter), "--overwrite"]
        return [*words, *tool.words]
    python = given.python if tool.peer else sys.executable
    words = [python, __file__, "--child", tool.kind, "--folder", str(given.folder), "--side", str(given.side)]
    return [*words, "--window", str(given.window), "--model", given.model, "--diameter", str(given.diameter)]


def environment(tool: Tool) -> dict[str, str]:
    """That of this process; peers are shown its packages, too, and find their own after them."""
    if not tool.peer:
        return dict(os.environ)
    import torch

    import contractile

    places = [str(Path(module.__file__ or "").parents[1]) for module in (contractile, torch)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def read(out: Path, given: argparse.Namespace) -> Any:
    """The labels (Y, X) int32 that a tool wrote."""
    if (out / "labels.npy").exists():
        return np.load(out / "labels.npy")
    return np.asarray(zarr.open(out / f"{given.side}_labels.zarr/0")[:]).astype(np.int32)


def side_of(given: argparse.Namespace, tool: Tool) -> int:
    """Pixels along a side after which the next block (window) of a tool begins."""
    from contractile.grid import Mosaic

    if tool in OURS or tool is REFERENCE:
        return Mosaic.of((given.side, given.side)).side[0]
    if tool.kind == "halo":
        return int(given.window - 2 * HALO)
    return int(given.window * (1 - OVERLAP)) if tool.peer else int(given.window)


def count_cut(reference: Any, labels: Any, side: int) -> tuple[int, int]:
    """The objects that lie on both sides of a face, and those with two labels at most of their pixels there."""
    pixels, differing = (np.zeros(int(reference.max(initial=0)) + 1, np.int64) for _ in range(2))
    for own, found in ((reference, labels), (reference.T, labels.T)):
        for line in range(side, len(own), side):
            both = (own[line - 1] == own[line]) & (own[line] > 0)
            apart = both & (found[line - 1] != found[line]) & (found[line - 1] > 0) & (found[line] > 0)
            pixels += np.bincount(own[line][both], minlength=len(pixels))
            differing += np.bincount(own[line][apart], minlength=len(pixels))
    return int((pixels > 0).sum()), int((2 * differing > pixels).sum())


def count_changed(reference: Any, labels: Any) -> int:
    from contractile.metrics.contingency import select_objects, tabulate

    table = select_objects(tabulate(labels, reference))
    best = np.zeros(len(table.true_ids))
    np.maximum.at(best, table.rows, table.iou)
    return int((best < SAME).sum())


# in a process of its own


def do_child(given: argparse.Namespace) -> None:
    """Predict the image in one of the ways, and save its labels."""
    from contractile.process import prepare_process

    prepare_process()
    from contractile.engine import EngineConfig
    from contractile.model import load
    from contractile.prediction import Predictor

    model = load(given.model)
    if model.card.network.padding != "same" or given.window % max(model.card.network.stride):
        raise SystemExit(f"the network must be padded, and --window a multiple of {max(model.card.network.stride)}")
    engine = EngineConfig(device="cpu", backend="torch", precision="float32")
    predictor = Predictor(model, engine=engine, diameter=given.diameter)
    array = zarr.open_array(image_of(given) / "0", mode="r")
    if given.child in ("reference", "unsewn"):
        labels = label_ours(predictor, array[:], given)
    else:
        maps = see_by_halo(model, array, given) if given.child == "halo" else see_by_windows(model, array, given)
        labels = predictor.decode(maps)
    out = given.folder / given.child
    out.mkdir(exist_ok=True)
    np.save(out / "labels.npy", labels)


def label_ours(predictor: Any, pixels: Any, given: argparse.Namespace) -> Any:
    """Labels of our map: decoded at once, or each window by itself."""
    from contractile.decode import decode_objects
    from contractile.grid import Mosaic

    field, decoding = predictor.probabilities(pixels), predictor.card.decoding
    if field.scale != 1:
        raise SystemExit("--diameter must be one that the model was trained on, or it enlarges the image")
    if given.child == "reference":
        return decode_objects(np.asarray(field), decoding, mosaic=Mosaic(pixels.shape, pixels.shape))
    labels = np.zeros(pixels.shape, np.int32)
    for region in Mosaic(pixels.shape, (given.window, given.window)).regions():
        found = decode_objects(field[(slice(None), *region)], decoding)
        labels[region] = np.where(found > 0, found + labels.max(), 0)
    return labels


def network_of(model: Any) -> Any:
    import torch

    return model.network.eval().to(memory_format=torch.channels_last)


def see_by_windows(model: Any, array: Any, given: argparse.Namespace) -> Any:
    """Probabilities (K, Y, X) by MONAI: the mean scores of windows."""
    import torch

    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        sys.exit(MISSING)
    network, pixels = network_of(model), array[:][None]
    values = torch.from_numpy(model.card.normalization.fit(pixels).apply(pixels)[None])
    with torch.inference_mode():
        scores = sliding_window_inference(
            values, given.window, 1, network.class_scores, overlap=OVERLAP, mode=given.child
        )
        return scores[0].softmax(dim=0).numpy()


def see_by_halo(model: Any, array: Any, given: argparse.Namespace) -> Any:
    """Probabilities (K, Y, X) by torch-em, which reads and writes Zarr block by block."""
    predict_with_halo = find_halo()
    network, block = network_of(model), given.window - 2 * HALO
    curve = model.card.normalization.fit(array[:][None])
    maps = zarr.create_array(
        given.folder / "halo.zarr", shape=(model.card.network.maps, *array.shape), dtype="float32",
        chunks=(1, block, block), overwrite=True,
    )  # fmt: skip
    predict_with_halo(
        array, network, ["cpu"], (block, block), (HALO, HALO), output=maps, disable_tqdm=True,
        preprocess=lambda pixels: curve.apply(pixels[None])[0],
        prediction_function=lambda net, batch: net.class_scores(batch).softmax(dim=1),
    )  # fmt: skip
    return maps[:]


def find_halo() -> Any:
    """The function of torch-em, without what its package imports besides."""
    found = importlib.util.find_spec("torch_em")
    if found is None or found.submodule_search_locations is None or importlib.util.find_spec("bioimage_cpp") is None:
        sys.exit(MISSING)
    place = Path(found.submodule_search_locations[0])
    for name in ("torch_em", "torch_em.util", "torch_em.transform", "torch_em.transform.raw"):
        module = types.ModuleType(name)
        module.__path__ = [str(place.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    sys.modules["torch_em.transform.raw"].standardize = None  # type: ignore[attr-defined]
    from torch_em.util.prediction import predict_with_halo

    return predict_with_halo


if __name__ == "__main__":
    sys.exit(main())
