import numpy as np
import pytest

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, evaluate


@pytest.mark.parametrize(
    ("predicted", "truth", "more", "message"),
    [
        (
            np.ones((2, 3), int),
            np.ones((3, 2), int),
            {},
            r"predicted image 0: predicted \(2, 3\) pixels for a truth of",
        ),
        (
            [np.ones((2, 2), int)] * 2,
            [np.ones((2, 2), int)],
            {},
            r"the same number of images \(not 0\), got 2 and 1; pass one",
        ),
        ([], [], {}, r"the same number of images \(not 0\), got 0 and 0"),
        (
            np.ones((2, 2), int),
            np.ones((2, 2)),
            {},
            r"true image 0: must hold integer labels, got float64; convert",
        ),
        (
            np.full((2, 2), 1.5),
            np.ones((2, 2), int),
            {},
            r"predicted image 0: probabilities must be floats in \[0, 1\] .* got float64 .*1.5",
        ),
        (
            np.full((2, 2), np.nan),
            np.ones((2, 2), int),
            {},
            r"probabilities must be floats in \[0, 1\] .* got float64 .*nan",
        ),
        (
            np.ones((2, 2, 2, 2)),
            np.ones((2, 2), int),
            {},
            r"integer labels \(\*S\) or probabilities .* check the order",
        ),
        (
            np.full((2, 2), -1),
            np.ones((2, 2), int),
            {},
            r"predicted image 0: predicted labels must be 0 .* got -1; only",
        ),
        (
            "a.tif",
            np.ones((2, 2), int),
            {},
            r"must both be paths or both be arrays, got str and ndarray; read files",
        ),
        (
            np.ones((2, 2), int),
            np.ones((2, 2), int),
            {"names": ["a", "b"]},
            r"a different name for each image, got a, b for 1 images; leave them out",
        ),
        (
            np.ones((2, 2), int),
            np.ones((2, 2), int),
            {"scores": ["dise"]},
            r"scores must be among isbi.* got dise; write dice",
        ),
        (np.ones((2, 2), int), np.ones((2, 2), int), {"scores": []}, r"scores must be among .* got none; correct the"),
        (np.eye(2), np.eye(2, dtype=int), {"scores": "dice"}, r"scores must be a list of names, got 'dice'; write"),
        (np.eye(2), np.eye(2, dtype=int), {"scores": [3]}, r"scores must be a list of names, got \[3\]; write"),
        (
            np.eye(2),
            np.eye(2, dtype=int),
            {"config": {"dims": 2}},
            r"config must be an EvaluateConfig, got {'dims': 2}",
        ),
        (np.eye(2), np.eye(2, dtype=int), {"names": "a"}, r"names must be a list of texts, got 'a'; leave them"),
        (np.eye(2), np.eye(2, dtype=int), {"progress": 3}, r"progress must be a function of \(done, total\), got 3"),
        (
            np.eye(2, dtype=int).tolist(),
            [[1, 0], [0, 1]],
            {},
            r"true image 0: must be labels .* got int64 \(2,\); give",
        ),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), {}, r"true image 0: must be labels .* got int64 \(0, 2\); give"),
        (np.eye(2), np.eye(2, dtype=int), {"names": [1]}, r"names must be a list of texts, got \[1\]; leave them out"),
        (
            np.zeros((0, 2, 2)),
            np.eye(2, dtype=int),
            {},
            r"predicted image 0: must have pixels, got float64",
        ),
        ("a.tif", ["b.tif", 3], {}, r"truth must hold paths only, got 3; give paths or arrays, not both"),
        (None, np.eye(2, dtype=int), {}, r"predicted image 0 must be an array, got None; give an array or a list of"),
        (
            [np.eye(2), "a.tif"],
            [np.eye(2, dtype=int)] * 2,
            {},
            r"predicted image 1 must be an array, got the path a.tif",
        ),
        (
            np.ma.masked_array(np.eye(2, dtype=int), [[True, False], [False, False]]),
            np.eye(2, dtype=int),
            {},
            r"predicted image 0 must have a value in every pixel, got a masked array without 1 of them; fill",
        ),
        (
            np.ones((2, 2)) / 2,
            np.array([[1, 2], [0, 3]]),
            {"scores": ["ap"]},
            r"predicted image 0: ap need object labels, got probabilities; predict with --save labels",
        ),
        (
            np.ones((2, 2, 2)) / 2,
            np.array([[1, 1], [0, 1]]),
            {"config": EvaluateConfig(white=2)},
            r"predicted image 0: white must name one of the channels 0 ... 1, got 2; leave it out",
        ),
        (
            np.ones((2, 2, 2)) / 2,
            np.array([[1, 2], [0, 1]]),
            {"config": EvaluateConfig(classes=(0, 1, 2))},
            r"image 0: probabilities must hold one class for each value of \(0, 1, 2\), got 2; give",
        ),
        (
            np.ones((8, 8), int),
            np.array([[1, 2], [0, 1]]).repeat(4, axis=0).repeat(4, axis=1),
            {"scores": ["seg"], "config": EvaluateConfig(border=9, objects=True)},
            r"predicted image 0: border must be at least 0 and leave a field",
        ),
    ],
)
def test_refuses_in_one_clear_line(predicted, truth, more, message):
    with pytest.raises(ContractileError, match=message) as caught:
        evaluate(predicted, truth, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"dims": 4}, "dims must be 2 or 3, got 4; use e.g. 2"),
        ({"border": -1}, "border must be a whole number from 0 to 2,147,483,648, got -1; use e.g. 0"),
        ({"seed": -1}, "seed must be a whole number from 0 to 9,223,372,036,854,775,807, got -1; use e.g. 0"),
        (
            {"resamples": 10**12},
            "resamples must be a whole number from 0 to 1,000,000, got 1000000000000; use e.g. 2000",
        ),
        ({"tolerance": float("inf")}, "tolerance must be a number from 0 to 1,000,000,000, got inf; leave it out"),
        ({"clases": (0, 1)}, "clases does not exist, got (0, 1); write classes"),
        ({"classes": (0, 0)}, "classes must name at least two different values, got (0, 0); use e.g. 0,1"),
        ({"classes": (0, 1), "objects": True}, "classes and objects exclude each other, got both; give one of them"),
        (
            {"classes": (0, 1), "ignore_label": 1},
            "ignore_label must not be one of the classes (0, 1), got 1; leave it out of classes",
        ),
        (
            {"pixel_size": (0, 1)},
            "pixel_size must hold one positive number for each of 2 or 3 axes, got (0.0, 1.0); use e.g. 0.5,0.5, or "
            "2,0.5,0.5 for volumes",
        ),
    ],
)
def test_configurations_without_meaning_are_refused(fields, line):
    with pytest.raises(ContractileError) as caught:
        EvaluateConfig(**fields)
    assert str(caught.value) == line


@pytest.mark.parametrize(("axis", "one_hot"), [(0, "true"), (2, "true"), (0, "predicted"), (2, "predicted")])
def test_one_hot_labels_are_refused(tmp_path, axis, one_hot):
    labels = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 3
    planes = np.stack([labels == plane for plane in range(3)], axis).astype(np.uint8)
    paths = [tmp_path / f"{name}.npy" for name in ("predicted", "true")]
    for path in paths:
        np.save(path, planes if path.stem == one_hot else labels)
    with pytest.raises(ContractileError, match=rf"{one_hot}.npy: labels .* they look one-hot; give .*planes\)$"):
        evaluate(*paths)
