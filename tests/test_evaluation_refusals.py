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
            r"scores must be among isbi.* got dise; correct the name, or leave",
        ),
        (np.ones((2, 2), int), np.ones((2, 2), int), {"scores": []}, r"scores must be among .* got none"),
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
