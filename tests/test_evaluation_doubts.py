"""Files that mean something else than they were taken for: the truth shows it, and it is said once."""

import logging
import re

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, compare, evaluate
from contractile.evaluation.agreement import Agreement
from contractile.evaluation.backgrounds import find_stand_in
from contractile.images import write_labels, write_probabilities

PLAIN = EvaluateConfig(resamples=0)
OVERLAP = ["dice"]


def objects(shift=0):
    """Three objects on background 0."""
    labels = np.zeros((32, 32), np.int32)
    for number, (top, left) in enumerate([(3, 4), (5, 19), (18, 10)], start=1):
        labels[top + shift : top + shift + 9, left : left + 9] = number
    return labels


def mask(shift=0):
    return np.where(objects(shift) > 0, 255, 0)


def write(folder, *pages, dtype=np.int32):
    """Files a0.tif, a1.tif ... as another program writes them."""
    folder.mkdir()
    for number, page in enumerate(pages):
        tifffile.imwrite(folder / f"a{number}.tif", page.astype(dtype), photometric="minisblack")
    return folder


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def value(predicted, truth, score="dice", **config):
    config = EvaluateConfig(resamples=0, **config)
    return evaluate(predicted, truth, scores=[score], config=config).summary[score].value


# Background that is not 0


@pytest.mark.parametrize("truth", [objects, mask])
@pytest.mark.parametrize(
    ("predicted", "background"),
    [
        (np.where(objects() > 0, 2, 1), 1),
        (np.where(objects() > 0, 1, 2), 2),
        (np.where(objects() > 0, 10, 200), 200),
        (np.where(objects() > 0, 200, 10), 10),
        (np.where(objects() > 0, objects(), 255), 255),
        (np.where(objects() > 0, objects(), 65535), 65535),
        (objects() + 1, 1),
        (np.where(objects() > 0, objects() + 100, 7), 7),
    ],
    ids=["1 and 2", "2 and 1", "200 and 10", "10 and 200", "on 255", "on 65535", "on 1", "on 7"],
)
def test_predictions_on_another_background_are_refused_with_the_cure(tmp_path, predicted, background, truth):
    out, true = write(tmp_path / "p", predicted, predicted, dtype=np.uint16), write(tmp_path / "t", truth(), truth())
    problem = rf"a0.tif: the prediction holds no 0, but {background} where the truth has background; "
    cure = rf"--background {background} \(background={background}\) reads {background} as background, --background 0"
    with pytest.raises(ContractileError, match=problem + cure):
        evaluate(out, true, config=PLAIN)
    assert value(out, true, background=background) == 1
    assert value(out, true, background=0) == pytest.approx(2 * 243 / (243 + 1024))


def test_background_of_negative_numbers(tmp_path):
    out = write(tmp_path / "p", np.where(objects() > 0, objects() - 1, -1))  # the first object is 0
    true = write(tmp_path / "t", objects())
    with pytest.raises(ContractileError, match=r"got -1; .*; --background -1 \(background=-1\) reads -1 as background"):
        evaluate(out, true)
    assert value(out, true, "ap", background=-1) == 1


def test_masks_with_exchanged_values(tmp_path, caplog):
    """They have a 0, but it is the objects."""
    out, true = write(tmp_path / "p", 255 - mask(), dtype=np.uint8), write(tmp_path / "t", mask())
    assert value(out, true) == 0
    line = f"{out / 'a0.tif'}: predicted mostly where the truth has background (correlation -1.00), as if one had them"
    cure = "--background 255 (background=255) reads 255 of the prediction as background"
    assert warnings(caplog) == [f"{line} exchanged; {cure}"]
    caplog.clear()
    assert value(out, true, background=255) == value(out, true, "ap", background=255) == 1
    assert not warnings(caplog)


def test_numbered_objects_against_an_exchanged_truth(tmp_path, caplog):
    out, true = write(tmp_path / "p", objects()), write(tmp_path / "t", 255 - mask())
    assert value(out, true) == 0
    assert warnings(caplog)[0].endswith("(correlation -1.00), as if one had them exchanged; exchange them there")


@pytest.mark.parametrize(
    ("truth", "background", "check"),
    [
        (np.where(objects() > 0, objects(), 255), 255, r" \(contractile check IMAGES LABELS --fix DIR does so\)"),
        (np.where(mask() > 0, 1, 255), 255, r" \(contractile check IMAGES LABELS --fix DIR does so\)"),
        (np.where(mask() > 0, 2, 1), 1, ""),
        (np.where(mask() > 0, 10, 200), 200, ""),
    ],
)
def test_truths_on_another_background_are_refused(tmp_path, truth, background, check):
    out, true = write(tmp_path / "p", mask()), write(tmp_path / "t", truth)
    problem = rf"t/a0.tif: the truth holds no 0, but {background} where the predictions have background; "
    with pytest.raises(ContractileError, match=problem + f"write 0 in place of {background}{check}$"):
        evaluate(out, true)


def test_the_same_background_other_than_0_on_both_sides(tmp_path):
    both = np.where(objects() > 0, objects(), 255)
    out, true = write(tmp_path / "p", both), write(tmp_path / "t", both)
    with pytest.raises(ContractileError, match=r"t/a0.tif: the truth holds no 0, but 255 where background should be; "):
        evaluate(out, true)


def test_it_is_clear_after_three_images(tmp_path):
    done = []
    out = write(tmp_path / "p", *[np.where(objects(n) > 0, 2, 1) for n in range(5)])
    true = write(tmp_path / "t", *[objects(n) for n in range(5)])
    with pytest.raises(ContractileError, match=r"--background 1 "):
        evaluate(out, true, config=PLAIN, progress=lambda one, _: done.append(one))
    assert done == [1, 2]


def test_some_files_on_another_background_are_named(tmp_path, caplog):
    out = write(tmp_path / "p", objects(), np.where(objects() > 0, objects(), 255), np.where(mask() > 0, 2, 1))
    evaluate(out, write(tmp_path / "t", *[objects()] * 3), scores=OVERLAP, config=PLAIN)
    line = "the prediction holds no 0, but 255 where the truth has background; --background 255 (background=255)"
    assert warnings(caplog) == [
        f"{out / 'a1.tif'} and 1 more: {line} reads 255 as background, --background 0 as an object"
    ]


def tiles():
    """Objects that fill the image: 16 squares."""
    return np.kron(np.arange(1, 17).reshape(4, 4), np.ones((8, 8), int))


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (tiles(), tiles()),
        (tiles(), objects()),
        (np.where(np.arange(32) % 8 == 0, 0, tiles()), tiles()),
        (tiles(), np.where(np.arange(32) % 8 == 0, 0, tiles())),
        (np.ones((32, 32)), objects()),
        (np.full((32, 32), 255), mask()),
        (np.zeros((32, 32)), objects()),
        (objects(), np.where(objects() > 0, objects(), -1)),
        (np.where(mask() > 0, 2, 1), np.where(mask() > 0, 2, 1)),
    ],
    ids=["both full", "full", "full truth", "lines in the truth", "1", "255", "empty", "partly annotated", "classes"],
)
def test_no_background_is_no_fault_by_itself(tmp_path, predicted, truth, caplog):
    evaluate(write(tmp_path / "p", predicted), write(tmp_path / "t", truth), scores=OVERLAP, config=PLAIN)
    assert not warnings(caplog)


def test_classes_that_count_from_1_beside_classes_that_count_from_0(tmp_path):
    truth = np.tile(np.array([[0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2]]), (3, 1))
    out, true = write(tmp_path / "p", truth + 1), write(tmp_path / "t", truth)
    with pytest.raises(ContractileError, match=r"but 1 where the truth has background; give the classes the same"):
        evaluate(out, true)
    with pytest.raises(ContractileError, match=r"the truth holds no 0, but 1 where the predictions have background"):
        evaluate(true, out)


def test_numbers_that_are_no_class_of_the_truth(tmp_path, caplog):
    truth = np.tile(np.array([[0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2]]), (3, 1))
    out, true = write(tmp_path / "p", truth * 100, truth * 50), write(tmp_path / "t", truth, truth)
    evaluate(out, true, config=PLAIN)
    line = "holds 100, 200, but the classes of the truth are 0, 1, 2: these pixels count as wrong"
    assert warnings(caplog) == [f"{out / 'a0.tif'}: {line}; give the classes the same numbers in both"]
    caplog.clear()
    evaluate(out, true, config=EvaluateConfig(resamples=0, classes=(0, 1)))  # the caller left one out
    assert not warnings(caplog)


# Objects


def test_a_mask_against_numbered_objects(tmp_path, caplog):
    out, true = write(tmp_path / "p", mask(), mask(1)), write(tmp_path / "t", objects(), objects(1))
    assert value(out, true, "ap") == 0
    line = "all objects have one number, so that they count as one object; give each object a number of its own"
    assert warnings(caplog) == [f"{out / 'a0.tif'}: {line}"]


@pytest.mark.parametrize("predicted", [[objects(), mask()], [objects() == 1] * 2, [mask() * 0] * 2])
def test_one_number_can_be_one_object(tmp_path, predicted, caplog):
    evaluate(write(tmp_path / "p", *predicted), write(tmp_path / "t", objects(), objects()), config=PLAIN)
    assert not warnings(caplog)


def test_truths_without_any_annotation(tmp_path, caplog):
    nothing = np.full((32, 32), -1)
    out, true = write(tmp_path / "p", objects(), objects()), write(tmp_path / "t", nothing, nothing)
    message = "a0.tif: every pixel of the truth is negative, which means not annotated: there is nothing to score; give"
    with pytest.raises(ContractileError, match=message):
        evaluate(out, true)
    seven = write(tmp_path / "seven", nothing * 0 + 7, nothing * 0 + 7)
    with pytest.raises(ContractileError, match="not annotated"):
        evaluate(out, seven, config=EvaluateConfig(ignore_label=7))
    assert value(out, write(tmp_path / "some", objects(), nothing), "ap") == 1
    assert not warnings(caplog)


# Channels


def save_maps(path, *channels):
    tifffile.imwrite(path, np.stack(channels).astype(np.float32), photometric="minisblack", metadata={"axes": "CYX"})
    return path


@pytest.fixture
def white():
    return np.where(objects() > 0, 0.9, 0.05)


def test_channels_of_other_programs_are_said(tmp_path, white, caplog):
    caplog.set_level(logging.INFO, logger="contractile.evaluation")
    true = write(tmp_path / "t", objects())
    two = save_maps(tmp_path / "two.tif", 1 - white, white)
    three = save_maps(tmp_path / "three.tif", 1 - white, white / 2, white / 2)
    assert value(two, true) == value(three, true) == 1
    assert caplog.messages == [
        f"taken as probabilities: {two}",
        f"{two}: channel 0 is taken as background, channel 1 as objects; "
        "--white N (white=N) takes channel N as objects",
        f"taken as probabilities: {three}",
        f"{three}: channel 0 is taken as background, channels 1 to 2 together as objects; "
        "--white N (white=N) takes channel N as objects",
    ]
    assert warnings(caplog) == caplog.messages[3:]
    caplog.clear()
    assert value(two, true, white=1) == 1
    write_probabilities(tmp_path / "own.tif", np.stack([1 - white, white / 2, white / 2]))
    assert value(tmp_path / "own.tif", true) == 1
    assert not warnings(caplog)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_channel_that_agrees_much_better_is_named(tmp_path, white, best, caplog):
    """Some programs write the objects first; a map of outlines is not a class."""
    true = write(tmp_path / "t", objects())
    channels = [np.where(np.arange(32) % 4 > 0, 0.7, 0.1) * np.ones((32, 1)) for _ in range(3)]
    channels[best] = white
    found = save_maps(tmp_path / "p.tif", *channels)
    assert value(found, true) < 0.6
    cure = rf"better with the truth \(correlation 1.00 against -?0.\d\d\); --white {best} \(white={best}\) takes it"
    assert re.search(f"channel {best} agrees {cure}", warnings(caplog)[-1])
    caplog.clear()
    assert value(found, true, white=best) == 1
    assert not warnings(caplog)


def test_a_single_map_of_background(tmp_path, white, caplog):
    true = write(tmp_path / "t", mask())
    tifffile.imwrite(tmp_path / "p.tif", (1 - white).astype(np.float32))
    assert value(tmp_path / "p.tif", true) == 0
    assert warnings(caplog)[0].endswith(
        "(correlation -1.00), as if one had them exchanged; score 1 - probability if it is the prediction"
    )


def test_arrays_are_what_the_caller_says(caplog):
    caplog.set_level(logging.INFO, logger="contractile")
    nothing = np.full((32, 32), -1)
    for predicted, truth in (
        (255 - mask(), mask()),
        (objects() + 1, objects()),
        (mask(), objects()),
        (mask(), nothing),
    ):
        evaluate(predicted, truth, scores=OVERLAP, config=PLAIN)
    assert not caplog.records
    assert (
        evaluate(objects() + 1, objects(), scores=["ap"], config=EvaluateConfig(background=1)).summary["ap"].value == 1
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(-1, 1)), min_size=2, max_size=40))
def test_correlation_is_that_of_numpy(pixels):
    found, true = (np.array(side) for side in zip(*pixels, strict=True))
    agreement = Agreement()
    for half in (slice(None, len(pixels) // 2), slice(len(pixels) // 2, None)):
        agreement.add(found[half], true[half])
    found, true = found[true >= 0], true[true >= 0]
    varied = len(set(found.tolist())) == len(set(true.tolist())) == 2
    expected = np.corrcoef(found, true)[0, 1] if varied else 0
    assert agreement.correlation == pytest.approx(expected)


@given(st.permutations(range(1, 6)), st.integers(1, 9))
def test_the_stand_in_is_the_number_in_place_of_0(numbers, background):
    """Whatever the numbers are, as long as no object has this one."""
    numbers = [number + 10 for number in numbers]
    labels = np.array([0, *numbers[:3]])[objects()]
    assert find_stand_in(labels, objects()) is None
    assert find_stand_in(np.where(labels == 0, background, labels), objects()) == background


def test_our_own_labels_are_never_doubtful(tmp_path, caplog):
    write_labels(tmp_path / "p" / "a0_labels.tif", objects())
    assert value(tmp_path / "p", write(tmp_path / "t", objects()), "ap") == 1
    assert not warnings(caplog)


# A number of the truth that looks like a mark of what is not annotated


def marked(mark, kind=objects):
    """A truth whose lower rows nobody annotated."""
    truth = kind().astype(np.int32)
    truth[20:] = mark
    return truth


def test_a_mark_that_is_named_counts_as_minus_1(tmp_path, caplog):
    out = write(tmp_path / "out", objects(1), objects(2))
    results = []
    for name, mark, kind, option in (("a", -1, np.int32, None), ("b", 65535, np.uint16, 65535)):
        truth = write(tmp_path / name, marked(mark), objects(), dtype=kind)
        config = EvaluateConfig(ignore_label=option, resamples=50)
        results.append(evaluate(out, truth, scores=["overlap", "ap", "ctc", "surface"], config=config).to_json())
    assert results[0] == results[1]
    assert not warnings(caplog)


@pytest.mark.parametrize(("mark", "kind"), [(65535, objects), (255, objects), (255, lambda: (objects() > 0) * 2)])
def test_what_looks_like_a_mark_is_said(tmp_path, caplog, mark, kind):
    truth = write(tmp_path / "true", marked(mark, kind), kind(), dtype=np.uint16)
    out = write(tmp_path / "out", kind(), kind())
    value(out, truth)
    problem = f"the truth holds {mark}, far above all its other numbers, and it counts like the others"
    cure = f"if it means not annotated, give --ignore-label {mark} (ignore_label={mark})"
    assert f"{truth / 'a0.tif'}: {problem}; {cure}" in warnings(caplog)
    caplog.clear()
    compare(out, out, truth, scores=["dice"], config=PLAIN)
    assert [line for line in warnings(caplog) if "far above" in line] == [f"{truth / 'a0.tif'}: {problem}; {cure}"]
    caplog.clear()
    value(out, truth, ignore_label=mark)
    assert not warnings(caplog)


def test_a_class_that_is_named_is_no_mark(tmp_path, caplog):
    truth = write(tmp_path / "true", marked(255), dtype=np.uint8)
    value(truth, truth, classes=(0, 1, 2, 3, 255))
    assert not warnings(caplog)
