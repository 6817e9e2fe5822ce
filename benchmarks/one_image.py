"""What one annotated image teaches, and what plain images beside it add: one row for each choice of the image.

    python benchmarks/splits.py dsb2018 DATA --out data/dsb2018
    python benchmarks/one_image.py dsb2018 data/dsb2018 --choices 0 1 2 3 4 --steps 100 [--set samples.pasted=4]
    python benchmarks/one_image.py dsb2018 data/dsb2018 --plain masked | teacher | own-labels

Choice n is the image that `accuracy.py --annotated 1 --choice n` takes. The other images of the training part are
plain: their labels are not read. The norms are measured at the end as usual ("norms: annotated") and once more on half
annotated, half plain samples ("norms: both"). What else is learned from plain images, --plain:

- `masked`: in a third of the steps a network of the same kind learns to draw hidden squares of all images, plain and
  annotated, and to take noise away (as He et al. 2022, arXiv:2111.06377, with convolutions). The other two thirds learn
  from the annotated image as usual and begin with its weights, but for those of the last layer. The number of steps is
  the same, and so is the time.
- `teacher`: a moving average of the network (Tarvainen and Valpola 2017, arXiv:1703.01780). Where it is sure of a plain
  sample, the network learns to say the same of that sample with other brightness, contrast and noise. A step takes
  --plain-batch samples more, so compare seconds (of this process, on one thread), and not steps.
- `own-labels`: after half of the steps the network labels the plain images; from then on half of each batch is of
  these. Pixels of which it was not sure, and objects of which it was not sure as a whole, are ignored.

Scored are at most --test images of the test part, evenly spaced: AP at 0.5 and SEG; V_Rand for isbi2012. Objects are
decoded in three ways: by whatever scores best on the part of the image that validates ("by score alone"), by the
decoding that the search begins with ("the first"), and by the one that training takes ("chosen"). Rows are added to
--out as lines of JSON, and rows that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import copy
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import rows
import torch
from annotator import load
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from contractile.dataset import Batch, Example, Samples, pasted_copies, split
from contractile.decode import Decoding, decode_objects, inside_probability
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import renumber
from contractile.loss import combined
from contractile.model import Model, ModelCard, combine, save
from contractile.prediction import Predictor
from contractile.recipe import Recipe, derive, merge
from contractile.training.decoding import choose_decoding, first_decoding
from contractile.training.norms import count_batches, measure_statistics
from contractile.training.optimizer import learning_rate, set_rate
from contractile.training.origin import describe, trace
from contractile.training.state import State, begin, launch, take_step
from contractile.training.validation import Validation
from contractile.unet import UNet, adopt, fold

NORMS = ("annotated", "both")
WAYS = ("by score alone", "the first", "chosen")
SURE = 0.9  # probability from which the teacher, or a label of a class, is believed
SURE_OUTSIDE = 0.8  # probability from which a pixel is believed to be outside of objects
SURE_OBJECT = 0.75  # mean probability of the inside from which an object is believed
KEPT = 0.99  # of the teacher at each step
FIRST_PART = 3  # the first phase of "masked" takes one of so many steps
SQUARE, HIDDEN = 16, 0.6  # pixels on a side of a hidden square, share of the squares that are hidden
NOISE = 0.3  # at most, of standard deviation, what grey values get before they are hidden
FROM, FULL = 0.15, 0.4  # of all steps: where plain samples begin to count, and where they count fully


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("dsb2018", "dic-hela", "phc-u373", "isbi2012"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--choices", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="such as samples.pasted=4")
    parser.add_argument("--plain", choices=("nothing", "masked", "teacher", "own-labels"), default="nothing")
    parser.add_argument("--members", type=int, default=1, help="networks with other seeds, of which the mean is scored")
    parser.add_argument("--plain-images", type=int, default=40)
    parser.add_argument("--plain-batch", type=int, default=2)
    parser.add_argument("--test", type=int, default=28)
    parser.add_argument("--models", type=Path, help="a folder to keep the models in")
    parser.add_argument("--out", type=Path, default=Path("runs/one_image.jsonl"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    known, test = sorted(load(given.data, "train"), key=lambda one: one.name), load(given.data, "test", given.test)
    for choice in given.choices:
        row = {"dataset": given.dataset, "choice": choice, "steps": given.steps, "set": given.set}
        row |= {"plain": given.plain, "members": given.members}
        if rows.is_there(given.out, row):
            continue
        order = np.random.default_rng(choice).permutation(len(known))
        one, others = known[order[0]], [known[n] for n in order[1 : 1 + given.plain_images]]
        rows.add(given.out, row | measure(given, one, others, test))


def measure(given: argparse.Namespace, one: Example, others: list[Example], test: list[Example]) -> dict[str, Any]:
    """Train on one image, with plain ones where they are asked for, and score: cells of a row."""
    changes: Any = {"steps": given.steps}
    for assignment in given.set:
        changes = merge(changes, tomllib.loads(assignment))
    training, validation = split([one], 0.2)
    recipe, begun = derive(training, changes), time.process_time()
    recipes = [recipe.model_copy(update={"seed": seed}) for seed in range(given.members)]
    members = [learn(given, each, training, validation, others) for each in recipes]
    row: dict[str, Any] = {"seconds": round(time.process_time() - begun)}
    for number, norms in enumerate(NORMS):
        model = combine([each[number] for each in members])
        if given.models:
            given.models.mkdir(parents=True, exist_ok=True)
            words = [one.name, str(given.steps), *given.set, given.plain, norms, str(given.members)]
            save(model, given.models / f"{'-'.join(words)}.safetensors")
        row[f"norms: {norms}"] = score(model, recipe, (training, validation), test)
    return row


def learn(
    given: argparse.Namespace,
    recipe: Recipe,
    training: list[Example],
    validation: list[Example],
    others: list[Example],
) -> list[Model]:
    """One network, with the norms of NORMS."""
    first = given.steps // FIRST_PART if given.plain == "masked" else 0
    recipe = recipe.model_copy(update={"steps": given.steps - first})
    samples = Samples(training, recipe.targets, recipe.samples, seed=recipe.seed)
    plain = make_plain(others, recipe, given.plain_batch)
    state = begin(recipe, launch(recipe))
    card = describe(recipe, training, validation, trace(recipe, training, validation))
    if given.plain == "teacher":
        learn_from_both(state, samples, plain)
    elif given.plain == "own-labels":
        learn_from_own_labels(state, samples, card.model_copy(update={"decoding": find_first(training)}), others)
    else:
        if first:
            drawn = learn_to_draw(recipe, make_plain([*others, *training], recipe, recipe.samples.batch), first)
            adopt(state.network, drawn, head=False)
        for number in range(given.steps - first):
            take_step(state, samples.batch(number))
    count = count_batches(state.network, given.steps)
    models = []
    for images in ((samples.batch(number).image for number in range(count)), mixed(samples, plain, count)):
        model = copy.deepcopy(state.model(card))
        measure_statistics(model.network, images, shared=recipe.network.symmetry == "square")
        models.append(model)
    return models


def make_plain(others: list[Example], recipe: Recipe, batch: int) -> Samples:
    """Samples of images without labels; objects that nobody annotated are not dimmed."""
    blank = [Example(one.name, one.pixels, np.zeros(one.labels.shape, np.int32)) for one in others]
    augment = recipe.samples.augment.model_copy(update={"dimmed": 1.0, "grey_chance": 0.0, "light_chance": 0.0})
    config = recipe.samples.model_copy(update={"batch": batch, "focus": 0.0, "pasted": 0, "augment": augment})
    return Samples(blank, recipe.targets, config, seed=recipe.seed + 1)


def learn_to_draw(recipe: Recipe, plain: Samples, steps: int) -> UNet:
    """A network that has learned for so many steps to draw what is hidden in plain images."""
    channels = recipe.network.channels
    network = recipe.network.model_copy(update={"classes": max(2, channels)})
    state = begin(recipe.model_copy(update={"network": network, "steps": steps}), launch(recipe))
    for number in range(steps):
        image = plain.batch(number).image  # (B, C, *tile)
        state.on_device.train()
        set_rate(state.optimizer, learning_rate(state.step, steps, recipe.optimizer))
        seen, shown = hide(image, number)
        drawn = state.on_device(seen.contiguous(memory_format=torch.channels_last))[:, :channels].float()
        pairs = zip(image.shape[2:], drawn.shape[2:], strict=True)
        edges = [slice((whole - part) // 2, (whole + part) // 2) for whole, part in pairs]  # as seen without padding
        wrong = functional.smooth_l1_loss(drawn, image[..., *edges], reduction="none")
        loss = (wrong * (1 - shown[..., *edges])).mean() / HIDDEN + 0.1 * wrong.mean()
        state.optimizer.zero_grad()
        state.fabric.backward(loss)
        state.optimizer.step()
        state.step += 1
        if number % 10 == 0:
            print(f"hidden squares: step {number} of {steps}, loss {float(loss):.3f}", flush=True)
    return fold(state.network)


def hide(image: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, C, *tile) with noise and hidden squares, and where they are shown (B, 1, *tile): 1, else 0."""
    drawn = torch.Generator().manual_seed(number)
    squares = [-(-size // SQUARE) for size in image.shape[2:]]
    shown = (torch.rand(len(image), 1, *squares, generator=drawn) > HIDDEN).float()
    for axis, size in enumerate(image.shape[2:], 2):
        shown = shown.repeat_interleave(SQUARE, axis).narrow(axis, 0, size)
    strength = NOISE * torch.rand(len(image), *(1,) * (image.ndim - 1), generator=drawn)
    return (image + strength * torch.randn(image.shape, generator=drawn)) * shown, shown


def mixed(samples: Samples, plain: Samples, number: int) -> Iterator[torch.Tensor]:
    for step in range(number):
        some, count = samples.batch(step).image, plain.config.batch
        more = torch.cat([plain.batch(step * len(some) + n).image for n in range(max(1, len(some) // count))])
        yield torch.cat([some, more])


def learn_from_both(state: State, samples: Samples, plain: Samples) -> None:
    """All steps of a run with a teacher."""
    recipe, steps = state.recipe, state.recipe.steps or 0
    teacher = copy.deepcopy(state.network).eval()
    for number in range(steps):
        annotated, image = samples.batch(number), plain.batch(number).image
        with torch.no_grad():
            said = torch.softmax(teacher.class_scores(image).float(), 1)
        sure, classes = said.max(1)
        counts = min(1.0, max(0.0, (number / steps - FROM) / (FULL - FROM)))
        state.on_device.train()
        set_rate(state.optimizer, learning_rate(state.step, steps, recipe.optimizer))
        both = torch.cat([annotated.image, change(image, number)]).contiguous(memory_format=torch.channels_last)
        scores = state.on_device(both).float()
        first = len(annotated.image)
        loss = combined(scores[:first], annotated.classes, weight=annotated.weight, config=recipe.loss)
        other = functional.cross_entropy(scores[first:], classes, reduction="none")
        loss = loss + counts * (other * (sure > SURE)).mean()
        state.optimizer.zero_grad()
        state.fabric.backward(loss)
        state.optimizer.step()
        state.step += 1
        follow(teacher, state.network, min(KEPT, (number + 1) / (number + 10)))


def find_first(training: list[Example]) -> Decoding:
    return first_decoding([one.labels for one in training])


def learn_from_own_labels(state: State, samples: Samples, card: ModelCard, others: list[Example]) -> None:
    """All steps of a run, the second half of them with plain images as the network labels them."""
    recipe, steps = state.recipe, state.recipe.steps or 0
    for number in range(steps // 2):
        take_step(state, samples.batch(number))
    model = copy.deepcopy(state.model(card))
    images = (samples.batch(number).image for number in range(count_batches(model.network, state.step)))
    measure_statistics(model.network, images, shared=recipe.network.symmetry == "square")
    predictor = Predictor(model)
    labelled = [replace(one, labels=label(predictor, one.pixels)) for one in others]
    batch = recipe.samples.batch // 2
    config = recipe.samples.model_copy(update={"batch": batch, "pasted": 0})
    own = Samples(labelled, recipe.targets, config, seed=recipe.seed + 1)
    for number in range(steps // 2, steps):
        one, other = samples.batch(number), own.batch(number)
        rest = len(one.image) - batch
        pairs = ((getattr(one, part), getattr(other, part)) for part in ("image", "classes", "weight"))
        take_step(state, Batch(*(torch.cat([first[:rest], second]) for first, second in pairs)))


def label(predictor: Predictor, pixels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) of an image (C, *S) by a network, -1 where it is not sure."""
    card, field = predictor.card, np.asarray(predictor.probabilities(pixels))
    if card.task == "classes":
        labels = np.array(card.class_values, np.int32)[field.argmax(0)]
        return np.where(field.max(0) < SURE, np.int32(-1), labels)
    labels, inside = decode_objects(field, card.decoding), inside_probability(field)
    unsure = (inside > 1 - SURE_OUTSIDE) & (labels == 0)
    means = ndimage.mean(inside, labels, np.arange(1, labels.max() + 1)) if labels.max() else np.zeros(0)
    doubtful = np.flatnonzero(np.asarray(means) < SURE_OBJECT) + 1
    return np.where(unsure | np.isin(labels, doubtful), np.int32(-1), labels)


def change(image: torch.Tensor, number: int) -> torch.Tensor:
    """Another brightness, contrast and noise for each sample (B, C, *tile)."""
    drawn, shape = torch.Generator().manual_seed(number), (len(image), *(1,) * (image.ndim - 1))
    gain = torch.empty(shape).uniform_(0.6, 1.4, generator=drawn)
    offset = torch.empty(shape).uniform_(-0.15, 0.15, generator=drawn)
    noise = 0.1 * torch.rand(shape, generator=drawn) * torch.randn(image.shape, generator=drawn)
    return image * gain + offset + noise


@torch.no_grad()
def follow(teacher: torch.nn.Module, network: torch.nn.Module, kept: float) -> None:
    for mean, now in zip(teacher.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.mul_(kept).add_(now, alpha=1 - kept)
        else:
            mean.copy_(now)


def score(
    model: Model, recipe: Recipe, parts: tuple[list[Example], list[Example]], test: list[Example]
) -> dict[str, Any]:
    """Scores of the test images; of objects, for each of three ways to choose a decoding."""
    predictor = Predictor(model)
    maps = [np.asarray(predictor.probabilities(one.pixels)) for one in test]
    config = EvaluateConfig(objects=model.card.task == "objects", resamples=0)
    if model.card.task != "objects":
        truths = [(one.labels > 0).astype(np.int32) for one in test]
        found = evaluate(maps, truths, scores=("v_rand", "v_info"), config=config).summary
        return {name: round(found[name].value, 4) for name in ("v_rand", "v_info")}
    row: dict[str, Any] = {}
    for way, decoding in choose(model, recipe, *parts).items():
        labels = [decode_objects(one, decoding) for one in maps]
        found = evaluate(labels, [renumber(one.labels) for one in test], scores=("ap", "seg"), config=config).summary
        row[way] = [*(round(found[name].value, 3) for name in ("ap", "seg")), list(decoding.model_dump().values())]
    return row


def choose(model: Model, recipe: Recipe, training: list[Example], validation: list[Example]) -> dict[str, Decoding]:
    """The decodings of WAYS."""
    seen = Validation(recipe, validation, training)
    looked_at = [*validation, *pasted_copies(validation, recipe.targets, recipe.samples, seed=recipe.seed)]
    before = choose_decoding(seen.predict(model, looked_at), [one.labels for one in looked_at], score=recipe.score)
    return dict(zip(WAYS, (before, seen.first, seen.conclude(model)[0].card.decoding), strict=True))


if __name__ == "__main__":
    main()
