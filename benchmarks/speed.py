"""How fast the paper's network (31 million parameters) runs on this machine, compared with other packages.

    python benchmarks/speed.py                      # inference and training steps, a quarter of an hour on two cores
    python benchmarks/speed.py --only inference --repeats 3
    python benchmarks/speed.py --curve 200          # loss curves of bfloat16 and float32 training, side by side

All run in one process. They take turns, round after round, and the table shows medians, because the speed of a machine
drifts. The same rounds measure a large matrix product, which is about the limit of the machine. Each contender runs
once to warm up before it is timed: ours with the memory allocator as the package sets it, the others with the
allocator's default settings. With a GPU, its rows follow those of the processor. Packages that are not installed are
left out (`make bench` installs them). Exit status 1: a ratio has become worse than the recorded one.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import torch
from ratios import judge
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from contractile.dataset import Example, Samples
from contractile.engine import EngineConfig, find_device, native_precision, place
from contractile.process import keep_freed_memory
from contractile.recipe import derive
from contractile.synthetic import SceneConfig, draw_scene
from contractile.training.state import begin, launch, take_step
from contractile.unet import UNet, UNetConfig

SIDE = 512
STREAM = 3  # images one after another
WIDTHS = (64, 128, 256, 512, 1024)
PACKAGES = ("contractile", "torch", "openvino", "monai", "dynamic-network-architectures", "unet")
Work = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("inference", "training"))
    parser.add_argument("--curve", type=int, help="only compare loss curves, over this many steps")
    parser.add_argument("--device", default="all", help="cpu, cuda, or all that the machine has")
    parser.add_argument("--record", action="store_true", help="record these ratios as the ones to reach")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    names = ["cpu", "cuda"][: 1 + torch.cuda.is_available()] if arguments.device == "all" else [arguments.device]
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES if installed(name)), "\n")
    held = True
    for device in (torch.device(str(find_device(name))) for name in names):
        print(f"## {describe_machine(device)}\n")
        if arguments.curve:
            compare_curves(arguments.curve, device)
            continue
        for title, make in {"one 512 x 512 image": inference, "one training step, one tile": training}.items():
            if arguments.only in (None, make.__name__):
                ratios = table(title, make(device), arguments.repeats, device, stream=make is inference)
                held &= judge(f"{title} ({device.type})", ratios, record=arguments.record)
    sys.exit(0 if held else 1)


def installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def describe_machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(str(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {torch.get_num_threads()} cores, {native_precision(device)}"


def inference(device: torch.device) -> dict[str, tuple[Work, float]]:
    """Name -> (work, GFLOP) of predicting one image in memory, until its probabilities are in memory."""
    torch.manual_seed(0)
    config = UNetConfig.paper()
    network = UNet(config).eval()
    side = config.input_size(SIDE)
    tile = np.random.default_rng(0).random((1, 1, side, side), np.float32)
    work: dict[str, tuple[Work, float]] = {}
    flops = gigaflops(network, (1, 1, side, side))
    for backend, precision in choices(device):
        # no example: random weights give almost equal probabilities, so that rounding changes many labels
        placed = place(network, EngineConfig(device=str(device), backend=backend, precision=precision))
        work[f"contractile {backend} {precision}"] = ((lambda placed=placed: placed(tile)), flops)
    work[PLAIN] = (plain(network.to(device), torch.from_numpy(tile).to(device)), flops)
    image = torch.rand(1, 1, SIDE, SIDE, device=device)
    for name, peer in peers().items():
        peer = peer.to(device).eval()
        work[f"{name}, float32"] = (plain(peer, image), gigaflops(peer, tuple(image.shape)))
    return work


OURS, PLAIN = "contractile", "the same network, plain PyTorch float32"


def choices(device: torch.device) -> list[tuple[str, str]]:
    """(back end, precision) of each of our contenders."""
    backends = ["torch", *(["openvino"] if device.type == "cpu" and importlib.util.find_spec("openvino") else [])]
    return [(backend, native_precision(device)) for backend in backends]


def plain(network: nn.Module, image: torch.Tensor) -> Work:
    @torch.inference_mode()
    def work() -> None:
        network(image).softmax(dim=1).cpu()

    return work


def peers() -> dict[str, nn.Module]:
    """Networks of the same widths and depth in other packages, with their defaults. They are padded: 512 -> 512."""
    found: dict[str, nn.Module] = {}
    if importlib.util.find_spec("monai"):
        from monai.networks.nets import BasicUNet

        found["MONAI BasicUNet"] = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=(*WIDTHS, 64))
    if importlib.util.find_spec("dynamic_network_architectures"):
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        found["nnU-Net PlainConvUNet"] = PlainConvUNet(
            1, 5, WIDTHS, nn.Conv2d, 3, (1, 2, 2, 2, 2), 2, 2, 2, conv_bias=True, norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
        )  # fmt: skip
    if importlib.util.find_spec("unet"):
        from unet import UNet2D

        found["PyPI unet"] = UNet2D(padding=1)
    return found


def training(device: torch.device) -> dict[str, tuple[Work, float]]:
    """Name -> (work, GFLOP) of one training step: the paper's network on a tile of 572 x 572, others on 512 x 512."""
    network = UNet(UNetConfig.paper()).to(device)
    shape = (1, 1, 572, 572)
    flops = 3 * gigaflops(network, shape)
    x, y = torch.rand(shape, device=device), torch.randint(0, 2, (1, 388, 388), device=device)
    one = make_step(network)
    work: dict[str, tuple[Work, float]] = {
        f"contractile {native_precision(device)}": (our_step(device), flops),
        PLAIN: ((lambda one=one, x=x, y=y: one(x, y)), flops),
    }
    x, y = torch.rand(1, 1, SIDE, SIDE, device=device), torch.randint(0, 2, (1, SIDE, SIDE), device=device)
    for name, peer in peers().items():
        one = make_step(peer.to(device))
        flops = 3 * gigaflops(peer, tuple(x.shape))
        work[f"{name}, float32"] = ((lambda one=one, x=x, y=y: one(x, y)), flops)
    return work


def our_step(device: torch.device) -> Work:
    """A step of `contractile train --recipe paper`, with weight map and dropout, on a sample in memory."""
    image, labels = draw_scene(SceneConfig(shape=(640, 640)), np.random.default_rng(0))
    example = Example("scene", image, labels)
    recipe = derive([example], {"base": "paper", "steps": 1000, "device": device.type})
    state = begin(recipe, launch(recipe))
    batch = Samples([example], recipe.targets, recipe.samples).batch(0)
    return lambda: take_step(state, batch)


def make_step(network: nn.Module, *, rounded: bool = False) -> Callable[[torch.Tensor, torch.Tensor], float]:
    """(image, classes) -> loss: a plain PyTorch training step; `rounded` multiplies in bfloat16, channels last."""
    device = next(network.parameters()).device
    if rounded:
        network = network.to(memory_format=torch.channels_last)
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.99)

    def work(x: torch.Tensor, y: torch.Tensor) -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=rounded):
            scores = network(x)
        loss = nn.functional.cross_entropy(scores.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return work


def compare_curves(steps: int, device: torch.device) -> None:
    """Loss curves of bfloat16 and float32 training on the same samples; other initial weights show the noise."""
    config = UNetConfig.paper().model_copy(update={"dropout": 0.0})
    side = config.input_size(100)
    samples = draw_samples(steps, side, config.output_size(side))
    curves = []
    for rounded, seed in ((True, 0), (False, 0), (False, 1)):
        torch.manual_seed(seed)
        one = make_step(UNet(config).to(device), rounded=rounded)
        curves.append([one(x.to(device), y.to(device)) for x, y in samples])
    rows = np.array(curves)[:, : steps // 20 * 20].reshape(3, -1, 20).mean(axis=2)
    print(f"### loss of {steps} steps of the paper network, means of 20\n")
    print("| steps | bfloat16 | plain float32 | plain, other initial weights |\n|--:|--:|--:|--:|")
    for number, row in enumerate(rows.T):
        print(f"| {20 * number + 1}-{20 * number + 20} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    gap, noise = np.abs(rows[0] - rows[1]).mean(), np.abs(rows[1] - rows[2]).mean()
    print(f"\nmean distance of the curves: bfloat16 to plain {gap:.4f}, noise (plain to plain) {noise:.4f}")


def draw_samples(count: int, side: int, core: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Synthetic cells and where they are: images (1, 1, side, side) and classes (1, core, core) of their middle."""
    rng = np.random.default_rng(0)
    rim = (side - core) // 2
    samples = []
    for _ in range(count):
        image, labels = draw_scene(SceneConfig(shape=(side, side)), rng)
        x = torch.from_numpy((image - image.mean()) / image.std()).float()[None]
        y = torch.from_numpy(labels[rim : rim + core, rim : rim + core] > 0).long()[None]
        samples.append((x, y))
    return samples


def table(
    title: str, work: dict[str, tuple[Work, float]], repeats: int, device: torch.device, *, stream: bool
) -> dict[str, float]:
    """Time all contenders, round after round, and print medians; returns how many times faster than PyTorch ours are.

    With `stream`, several images one after another are timed, too.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    streams: dict[str, list[float]] = {name: [] for name in work}
    matrices = {
        name: product(kind, device) for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    limits: dict[str, list[float]] = {name: [] for name in matrices}
    memory = {name: peak_memory(run) for name, (run, _) in work.items()}
    for _ in range(repeats):
        for name, multiply in matrices.items():
            limits[name].append(timed(multiply, device))
        for name, (run, _) in work.items():
            keep_freed_memory(name.startswith(OURS))
            run()
            times[name].append(timed(run, device))
            if stream:
                streams[name].append(timed(lambda run=run: [run() for _ in range(STREAM)], device) / STREAM)
    plain_time = statistics.median(times[PLAIN])
    print(f"### {title}: medians of {repeats}\n")
    print("| what | s | per s, one after another | GFLOP/s | speed-up over plain | peak MiB |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (_, flops) in work.items():
        seconds, each = statistics.median(times[name]), statistics.median(streams[name] or times[name])
        rates = f"{1 / each:.3g} | {flops / seconds:.0f} | {plain_time / seconds:.2f}"
        print(f"| {name} | {seconds:.4g} | {rates} | {memory[name]} |")
    for name, seconds_each in limits.items():
        seconds = statistics.median(seconds_each)
        print(f"| matrix product 4096 cubed, {name} | {seconds:.4g} | | {2 * 4096**3 / seconds / 1e9:.0f} | | |")
    print(flush=True)
    ours = {name: taken for name, taken in times.items() if name.startswith(OURS)}
    return {name: plain_time / statistics.median(taken) for name, taken in ours.items()}


def product(kind: torch.dtype, device: torch.device) -> Work:
    matrix = torch.rand(4096, 4096, device=device).to(kind)
    return lambda: matrix @ matrix


def timed(work: Work, device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def peak_memory(work: Work) -> int:
    """Largest growth of the process, in MiB, while the work is done once (which also warms it up). Linux only."""
    gc.collect()
    keep_freed_memory(False)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        work()
        return resident("VmHWM") - before
    except OSError:
        work()
        return 0


def resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(key))


def gigaflops(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Billions of operations of one forward pass; a multiplication and an addition count as two."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(shape, device=device))
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    main()
