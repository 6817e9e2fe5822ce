"""Annotated images -> samples: splits, and a stream that can be repeated."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.augment import AugmentConfig
from contractile.dataset import Example, SampleConfig, Samples, pasted_copies, split
from contractile.errors import ContractileError
from contractile.targets import TargetConfig, unannotated


def example(name="a", shape=(40, 60), labels=None):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (1, *shape), np.uint8)
    return Example(name, pixels, np.zeros(shape, np.int32) if labels is None else labels)


def test_the_last_images_validate():
    training, validation = split([example(n) for n in "abcdefghij"], 0.2)
    assert [e.name for e in training] == list("abcdefgh")
    assert [e.name for e in validation] == list("ij")
    assert [len(part) for part in split([example("a"), example("b")], 0.9)] == [1, 1]


def test_of_few_images_a_part_of_the_last_one_validates():
    training, validation = split([example("a"), example("b"), example("c")], 0.1)
    assert [e.name for e in training] == ["a", "b", "c"]
    assert [e.labels.shape for e in training] == [(40, 60), (40, 60), (40, 42)]
    assert [e.labels.shape for e in validation] == [(40, 18)]  # 0.1 of three images is 0.3 of one
    assert split([example("a"), example("b")], 0.01)[1][0].labels.shape == (40, 12)


def test_a_single_image_is_cut_across_its_longest_axis():
    one = example()
    (training,), (validation,) = split([one], 0.25)
    assert training.labels.shape == (40, 45)
    assert validation.pixels.shape == (1, 40, 15)
    np.testing.assert_array_equal(np.concatenate([training.pixels, validation.pixels], axis=2), one.pixels)


def test_what_is_not_annotated_does_not_validate():
    """A large image annotated at the left alone, an image without annotations, and one with fewer than the others."""
    one, nothing = example("one"), example("nothing")
    one.labels[:, 20:] = nothing.labels[:] = -1
    first, second = split([one, nothing], 0.25)
    assert [(e.name, e.labels.shape) for e in (*first, *second)] == [
        ("one", (40, 15)), ("nothing", (40, 60)), ("one", (40, 45))
    ]  # fmt: skip
    assert [(part[0].labels >= 0).sum() for part in (first, second)] == [40 * 15, 40 * 5]
    kept, last = split([example("a"), example("b"), one, nothing], 0.4)
    assert [[e.name for e in part] for part in (kept, last)] == [["a", "b", "nothing"], ["one"]]
    ignored = replace(example("ignored"), labels=np.where(np.arange(60) < 30, example().labels, 255))
    targets = TargetConfig(task="classes", class_values=(0, 1), ignore_label=255)
    assert split([ignored], 0.2, targets)[1][0].labels.shape == (40, 36)


@settings(max_examples=200)
@given(st.data())
def test_both_parts_of_a_cut_hold_annotated_pixels(data):
    shape = data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=3).map(tuple))
    size = math.prod(shape)
    places = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=min(5, size))))
    targets = TargetConfig(known_around=data.draw(st.none() | st.floats(0, 3)))
    labels = np.full(shape, -1 if targets.known_around is None else 0, np.int32)
    labels.flat[places] = data.draw(st.integers(0 if targets.known_around is None else 1, 2))
    one = example(shape=shape, labels=labels)
    fraction = data.draw(st.floats(0.01, 0.99))
    if len(places) == 1:
        with pytest.raises(
            ContractileError, match=r"^image a: labels must hold annotated pixels to train on and oth.*"
        ):
            split([one], fraction, targets)
        return
    (training,), (validation,) = split([one], fraction, targets)
    for part in (training, validation):
        assert not unannotated(part.labels, targets).all()
        assert part.pixels.shape == (1, *part.labels.shape)
    (axis,) = [a for a, (n, m) in enumerate(zip(shape, training.labels.shape, strict=True)) if n != m]
    np.testing.assert_array_equal(np.concatenate([training.labels, validation.labels], axis), labels)
    np.testing.assert_array_equal(np.concatenate([training.pixels, validation.pixels], axis + 1), one.pixels)


def planes(*numbers, pixels=()):
    """A volume of which some planes are annotated, and some pixels of others."""
    one = example(shape=(20, 16, 16))
    one.labels[[number for number in range(20) if number not in numbers]] = -1
    for place in pixels:
        one.labels[place] = 0
    return one


@pytest.mark.parametrize(
    ("volume", "trained", "validated"),
    [
        (planes(3, 12), (8, 16, 16), (12, 16, 16)),  # between the two
        (planes(3), (20, 13, 16), (20, 3, 16)),
        (planes(19), (20, 13, 16), (20, 3, 16)),
        (planes(3, pixels=[(12, 0, 0)]), (20, 13, 16), (20, 3, 16)),  # a single pixel is too few to validate on
        (planes(*range(20)), (16, 16, 16), (4, 16, 16)),
    ],
    ids=["two planes", "one", "the last one", "one and a pixel", "all"],
)
def test_a_volume_with_few_annotated_planes_is_cut_where_both_parts_have_some(volume, trained, validated):
    (training,), (validation,) = split([volume], 0.2)
    assert (training.labels.shape, validation.labels.shape) == (trained, validated)


def test_an_image_with_a_single_annotated_pixel_is_not_the_one_that_is_cut():
    speck = example("speck", labels=np.full((40, 60), -1, np.int32))
    speck.labels[3, 4] = 1
    training, validation = split([example("a"), speck], 0.1)
    assert [one.name for one in (*training, *validation)] == ["a", "speck", "a"]


@pytest.mark.parametrize("fraction", [0, 1, -1])
def test_the_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(ValueError, match="val_fraction must lie between 0 and 1, got"):
        split([example()], fraction)


def test_nothing_annotated_cannot_be_split():
    with pytest.raises(ContractileError, match=r"labels of the 1 image\(s\) must hold annotated pixels.*; annotate at"):
        split([example(labels=np.full((40, 60), -1, np.int32))], 0.2)


def blocks(values, size=6):
    """Squares in a row, one per value, with background between."""
    labels = np.zeros((size + 2, len(values) * (size + 2)), np.int32)
    for i, value in enumerate(values):
        labels[1:-1, i * (size + 2) + 1 : (i + 1) * (size + 2) - 1] = value
    return example(labels=labels, shape=labels.shape)


TARGETS = TargetConfig(task="classes", class_values=(0, 1), w0=0, balance=False)


def make_samples(config=None, **changes):
    labels = np.zeros((40, 60), np.int32)
    labels[:, 20:] = 1
    config = config or SampleConfig(tile=(32, 32), core=(16, 16), batch=2)
    return Samples([example(labels=labels), example("b", labels=1 - labels)], TARGETS, config, **changes)


def test_a_sample_is_the_same_whenever_it_is_asked_for():
    first, second = make_samples(seed=3), make_samples(seed=3)
    second[0], second[1]
    for a, b in zip(first[5], second[5], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[5].image, make_samples(seed=4)[5].image)


def test_copies_with_pasted_objects_are_learned_from_too():
    scenes, targets = [blocks(range(1, 5)), blocks(range(1, 4))], TargetConfig(separation="none", w0=0, balance=False)
    plain, some = SampleConfig(tile=(8, 24), core=(8, 24)), SampleConfig(tile=(8, 24), core=(8, 24), pasted=2)
    without, pasted, again = (Samples(scenes, targets, config, seed=1) for config in (plain, some, some))
    shares = [np.mean([samples[n].classes > 0 for n in range(60)]) for samples in (without, pasted)]
    assert shares[1] > shares[0]
    np.testing.assert_array_equal(pasted[3].image, again[3].image)


def test_pages_that_nobody_annotated_are_not_copied():
    """And each copy has the curve of grey values of its own image."""
    page, targets = blocks(range(1, 5)), TargetConfig(separation="none", w0=0, balance=False)
    blank = Example("blank", page.pixels * 3, np.full_like(page.labels, -1))
    config = SampleConfig(tile=(8, 24), core=(8, 24), pasted=2)
    assert [one.name for one in pasted_copies([blank, page], targets, config)] == [page.name] * 2
    alone, among_others = (Samples(pages, targets, config) for pages in ([page], [blank, page]))
    for number in range(20):
        np.testing.assert_array_equal(among_others[number].image, alone[number].image)


@pytest.mark.parametrize("ignored", [1, 2, 4, 5])
def test_no_pasted_object_gets_the_number_of_what_is_ignored(ignored):
    labels = np.zeros((40, 60), np.int32)
    for number in range(4):
        labels[10:18, 10 * number + 4 : 10 * number + 11] = 11 + number
    labels[-3:] = ignored
    scene, targets = Example("a", labels[None].astype(np.float32), labels), TargetConfig(ignore_label=ignored)
    copies = pasted_copies([scene], targets, SampleConfig(tile=(8, 8), core=(8, 8), pasted=3))
    assert all((one.labels > 0).sum() > (labels > 10).sum() for one in copies)
    for one in copies:
        assert (unannotated(one.labels, targets) == (one.labels < 0)).all()


def test_what_is_ignored_is_not_pasted():
    ignored = TargetConfig(separation="none", w0=0, balance=False, ignore_label=9)
    (copy,) = pasted_copies([blocks([9])], ignored, SampleConfig(tile=(8, 8), core=(8, 8), pasted=1))
    assert set(np.unique(copy.labels)) == {-1, 0}
    (copy,) = pasted_copies([blocks([9, 1])], ignored, SampleConfig(tile=(8, 8), core=(8, 8), pasted=1))
    assert copy.labels.max() in (1, 2)


def test_nothing_is_learned_of_what_nobody_drew_in_copies_either():
    around = TargetConfig(separation="none", w0=0, balance=False, known_around=2.0)
    example = blocks([1, 0, 0])
    far = unannotated(example.labels, around)
    assert far.any()
    config = SampleConfig(tile=(8, 8), core=(8, 8), pasted=9)
    for copy in pasted_copies([example], around, config):
        assert (copy.labels[far] != 0).all()  # unknown, or hidden by a pasted object


def test_shapes_and_types_of_a_batch():
    batch = make_samples().batch(0)
    assert batch.image.shape == (2, 1, 32, 32)
    assert batch.image.dtype == torch.float32
    assert batch.classes.shape == batch.weight.shape == (2, 16, 16)
    assert batch.classes.dtype == torch.int64


def test_the_stream_resumes_and_ranks_share_it():
    samples = make_samples()
    stream = samples.batches(3)
    assert torch.equal(next(stream).image, samples.batch(3).image)
    assert torch.equal(next(stream).image, samples.batch(4).image)
    stream.close()
    single = [samples[n].image for n in range(8)]
    shared = [samples.batch(step, rank=rank, ranks=2).image.numpy() for step in range(2) for rank in range(2)]
    np.testing.assert_array_equal(np.concatenate(shared), np.stack(single))


def test_without_augmentation_a_sample_is_a_normalised_crop():
    config = SampleConfig(tile=(8, 8), core=(8, 8), augment=AugmentConfig.none(), normalization={"kind": "none"})
    one = example(labels=np.arange(2400).reshape(40, 60) % 2)
    image, classes, _ = Samples([one], TARGETS, config)[0]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(one.pixels[0], 8, mode="reflect"), (8, 8))
    found = np.argwhere((windows == image[0]).all(axis=(2, 3)))
    assert len(found) == 1
    y, x = found[0]
    np.testing.assert_array_equal(classes, np.pad(one.labels, 8, mode="reflect")[y : y + 8, x : x + 8])


def centres(focus, labels, count=200):
    """The class under the centre of each sample, without augmentation."""
    config = SampleConfig(tile=(9, 9), core=(9, 9), focus=focus, augment=AugmentConfig.none())
    samples = Samples([example(labels=one) for one in labels], TARGETS, config)
    return np.array([samples[number].classes[4, 4] for number in range(count)])


def test_focus_shows_rare_pixels_more_often():
    labels = np.zeros((40, 60), np.int32)
    labels[3, 5] = 1
    empty = np.zeros_like(labels)
    assert centres(0.0, [labels, empty]).mean() < 0.05
    assert centres(0.5, [labels, empty]).mean() == pytest.approx(0.5, abs=0.1)
    assert not centres(0.5, [empty, empty]).any()  # nothing rarer to look at


def test_samples_lie_where_somebody_annotated():
    labels = np.full((40, 60), -1, np.int32)
    labels[10:14, 20:26] = 0
    labels[12, 22:] = 1
    assert (centres(0.0, [labels, np.full_like(labels, -1)]) >= 0).all()


def test_without_annotated_pixels_there_are_no_samples():
    with pytest.raises(ValueError, match="must hold annotated pixels, got only ignored ones"):
        centres(0.0, [np.full((40, 60), -1, np.int32)])


def test_classes_are_balanced_over_all_images():
    labels = np.zeros((40, 60), np.int32)
    labels[:20, :20] = 1
    config = SampleConfig(tile=(32, 32), core=(32, 32))
    targets = TARGETS.model_copy(update={"balance": True})
    samples = Samples([example(labels=labels), example("b", labels=np.zeros_like(labels))], targets, config)
    (first, second) = samples.targets
    assert first.weight[0, 0] > 1 > first.weight[-1, -1]
    assert first.weight[-1, -1] == second.weight[0, 0]


def test_a_number_that_means_not_annotated_is_like_a_negative_one():
    """In targets and places, and where single objects are dimmed: what nobody annotated is no object."""
    scene = blocks([1, 2, 3, 4])
    far = scene.labels.copy()
    far[:, 18:] = np.where(far[:, 18:] > 0, far[:, 18:], 255)
    bright = replace(scene, pixels=np.where(far > 0, 200, 10).astype(np.uint8)[None], labels=far)
    light = AugmentConfig.none().model_copy(update={"dimmed": 16.0, "grey_chance": 1.0, "brightness": 0.0})
    config = SampleConfig(tile=(8, 32), core=(8, 32), augment=light, focus=0.5, pasted=1)
    negative = replace(bright, labels=np.where(far == 255, -1, far))
    told = (TargetConfig(ignore_label=255), TargetConfig())
    some, others = (Samples([one], targets, config) for one, targets in zip((bright, negative), told, strict=True))
    for number in range(10):
        for one, other in zip(some[number], others[number], strict=True):
            np.testing.assert_array_equal(one, other)
