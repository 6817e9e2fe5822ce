"""nnU-Net v2, 2-D, for `peers.py`. Runs in the environment of nnU-Net.

Its own fingerprint, plan and preprocessing (they count as training), its network, loss, optimiser and augmentation, all
training images (`all`, as its authors did for cells), mirrored copies averaged. It tells classes apart, so objects are
background, inside and border, as its documentation says. Three things follow from the short time: steps are counted by
the time and not by epochs of 250, the learning rate falls to 0 over that time by the same curve, and the validation
steps are left out, since nothing but a progress curve is made of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from peer_task import INSIDE, Classes, Clock, Pixels, Task, read_task, write_inside, write_labels
from skimage.io import imsave

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
NAME, SPACING = "Dataset001_peer", [999.0, 1.0, 1.0]  # how nnU-Net itself reads pictures


def write_dataset(task: Task, truths: list[Pixels], labels: dict[str, int], raw: Path) -> None:
    """Images and classes as PNGs, in the folders that nnU-Net expects."""
    for part, images, ending in (("imagesTr", task.images, "_0000"), ("labelsTr", truths, "")):
        (raw / NAME / part).mkdir(parents=True)
        for number, pixels in enumerate(images):
            imsave(raw / NAME / part / f"case{number:04}{ending}.png", pixels, check_contrast=False)
    described = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": len(truths), "file_ending": ".png"}
    (raw / NAME / "dataset.json").write_text(json.dumps(described), encoding="utf-8")


def prepare(preprocessed: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plans and the description of the dataset, after the preprocessing of nnU-Net."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    cores = len(os.sched_getaffinity(0))
    extract_fingerprints([1], num_processes=cores)
    plan_experiments([1])
    preprocess([1], configurations=["2d"], num_processes=(cores,))
    texts = ((preprocessed / NAME / name).read_text() for name in ("nnUNetPlans.json", "dataset.json"))
    plans, described = map(json.loads, texts)
    return plans, described


def train(plans: dict[str, Any], described: dict[str, Any], clock: Clock, seconds: float) -> tuple[Any, int]:
    """The trainer of nnU-Net when the time is over, and the number of steps."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = nnUNetTrainer({**plans, "continue_training": False}, "2d", "all", described, device=torch.device("cpu"))
    trainer.disable_checkpointing = True
    trainer.on_train_start()
    trainer.network.train()
    begun, steps = clock.seconds, 0
    while clock.seconds < seconds:
        done = (clock.seconds - begun) / (seconds - begun)
        trainer.lr_scheduler.step(done * trainer.num_epochs)
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    trainer.on_train_end()
    trainer.set_deep_supervision_enabled(False)
    return trainer, steps


def predictor_of(trainer: Any, described: dict[str, Any]) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, [trainer.network.state_dict()],
        described, type(trainer).__name__, trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    return predictor


def run(task: Task, folder: Path) -> None:
    known = Classes(1, 1) if task.membranes else Classes.of(task.truths)
    classes = task.truths if task.membranes else [known.of_labels(one) for one in task.truths]
    names = ("background", "inside") if task.membranes else ("background", "inside", "border")
    labels = {name: number for number, name in enumerate(names)}
    write_dataset(task, [one.astype("uint8") for one in classes], labels, folder / FOLDERS[0])
    clock = Clock()
    plans, described = prepare(folder / FOLDERS[1])
    trainer, steps = train(plans, described, clock, task.seconds)
    clock.end_training(steps)
    predictor = predictor_of(trainer, described)
    for name, pixels in task.tests.items():
        values, properties = pixels[None, None].astype("float32"), {"spacing": SPACING}
        found, chances = predictor.predict_single_npy_array(values, properties, None, None, True)
        if task.membranes:
            write_inside(task.out, name, chances[INSIDE, 0])
        else:
            write_labels(task.out, name, known.to_labels(found[0]))
    clock.tell(task.out)


def main() -> None:
    task = read_task()
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            os.environ[name] = str(Path(folder) / name)  # before anything of nnU-Net is imported
        import nnunetv2.training.nnUNetTrainer.nnUNetTrainer  # noqa: F401, imports do not count

        run(task, Path(folder))


if __name__ == "__main__":
    main()
