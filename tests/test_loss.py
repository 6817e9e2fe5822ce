import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.loss import LossConfig, combined, cross_entropy, dice_loss

SHAPES = [(2, 3, 4, 5), (1, 2, 3, 4, 2)]  # (B, K, *S), two and three dimensions


def batch(shape, *, seed=0, ignored=0.3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape, generator=generator, dtype=dtype) * 3
    space = (shape[0], *shape[2:])
    classes = torch.randint(shape[1], space, generator=generator)
    classes[torch.rand(space, generator=generator) < ignored] = -1
    weight = torch.rand(space, generator=generator, dtype=dtype) * 5
    return scores, classes, weight


LOSSES = {
    "cross_entropy": lambda s, c, w: cross_entropy(s, c, weight=w),
    "unweighted": lambda s, c, w: cross_entropy(s, c),
    "dice": lambda s, c, w: dice_loss(s, c),
    "combined": lambda s, c, w: combined(s, c, weight=w, config=LossConfig(cross_entropy=0.7, dice=0.4)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_value(name, shape):
    scores, classes, weight = batch(shape)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, classes, weight), scores)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_neither_value_nor_gradient(name, shape):
    scores, classes, weight = batch(shape)
    ignored = (classes < 0)[:, None].expand(shape)
    other = torch.where(ignored, scores + 100 * torch.randn_like(scores), scores)
    scores.requires_grad_()
    value = LOSSES[name](scores, classes, weight)
    value.backward()
    torch.testing.assert_close(LOSSES[name](other, classes, weight), value.detach())
    assert (scores.grad[ignored] == 0).all()
    assert (scores.grad[~ignored] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_labelled_costs_nothing(name):
    scores, classes, weight = batch((2, 3, 4, 4))
    scores.requires_grad_()
    value = LOSSES[name](scores, torch.full_like(classes, -1), weight)
    value.backward()
    assert value == 0
    assert (scores.grad == 0).all()


def test_cross_entropy_by_hand():
    # two pixels of weight 2 and 6, probabilities 1/2 and 3/4 of the true class, a third pixel ignored
    scores = torch.log(torch.tensor([[[[0.5, 0.75, 0.9]], [[0.5, 0.25, 0.1]]]]))
    classes = torch.tensor([[[1, 0, -1]]])
    weight = torch.tensor([[[2.0, 6.0, 100.0]]])
    expected = (2 * math.log(2) + 6 * math.log(4 / 3)) / 2  # pixels, not the sum of weights
    assert cross_entropy(scores, classes, weight=weight).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_is_positive_and_falls_when_the_truth_gains():
    scores, classes, weight = batch((2, 3, 8, 8))
    before = cross_entropy(scores, classes, weight=weight)
    truth = torch.nn.functional.one_hot(classes.clamp(min=0), 3).movedim(-1, 1)
    after = cross_entropy(scores + truth, classes, weight=weight)
    assert 0 < after < before


@given(factor=st.floats(0.1, 100))
@settings(deadline=None, max_examples=20)
def test_heavier_pixels_count_more(factor):
    scores, classes, weight = batch((1, 2, 4, 4))
    value = cross_entropy(scores, classes, weight=weight)
    torch.testing.assert_close(cross_entropy(scores, classes, weight=weight * factor), value * factor)


def test_dice_by_hand():
    # class 0: 2 * 1.25 / (2.25 + 2), class 1: 2 * 0.25 / (0.75 + 1); three labelled pixels
    scores = torch.log(torch.tensor([[[[0.5, 0.75, 0.75, 0.25]], [[0.5, 0.25, 0.25, 0.75]]]]))
    classes = torch.tensor([[[0, 0, 1, -1]]])
    p0, p1 = 0.5 + 0.75 + 0.75, 0.5 + 0.25 + 0.25
    dice = (2 * (0.5 + 0.75) / (p0 + 2) + 2 * 0.25 / (p1 + 1)) / 2
    assert dice_loss(scores, classes).item() == pytest.approx(1 - dice, rel=1e-6)


def test_dice_reaches_its_ends():
    classes = torch.tensor([[[0, 1, 2, 2]]])
    right = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1) * 200.0
    assert dice_loss(right, classes).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(right.roll(1, dims=1), classes).item() == pytest.approx(1, abs=1e-6)


def test_class_without_pixels_is_left_out_of_dice():
    scores, classes, _ = batch((1, 3, 4, 4), ignored=0)
    classes = classes.clamp(max=1)  # class 2 occurs nowhere
    p = torch.softmax(scores, 1)[0]
    parts = [2 * p[c][classes[0] == c].sum() / (p[c].sum() + (classes == c).sum()) for c in range(2)]
    torch.testing.assert_close(dice_loss(scores, classes), 1 - sum(parts) / 2)


@given(seed=st.integers(0, 10**6), ignored=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_dice_stays_between_0_and_1(seed, ignored):
    scores, classes, _ = batch((2, 3, 4, 5), seed=seed, ignored=ignored)
    assert 0 <= dice_loss(scores, classes).item() <= 1


def test_terms_add_up():
    scores, classes, weight = batch((2, 3, 4, 5))
    config = LossConfig(cross_entropy=0.5, dice=2.0)
    expected = 0.5 * cross_entropy(scores, classes, weight=weight) + 2 * dice_loss(scores, classes)
    torch.testing.assert_close(combined(scores, classes, weight=weight, config=config), expected)
    only = combined(scores, classes, weight=None, config=LossConfig())
    torch.testing.assert_close(only, cross_entropy(scores, classes))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_summed_in_single_precision(dtype):
    scores, classes, weight = batch((2, 2, 64, 64), dtype=torch.float32)
    short = scores.to(dtype)
    for loss in (lambda s: cross_entropy(s, classes, weight=weight), lambda s: dice_loss(s, classes)):
        assert loss(short).dtype == torch.float32
        torch.testing.assert_close(loss(short), loss(short.float()))


def test_the_order_of_axes_is_not_mixed_up():
    scores, classes, weight = batch((3, 2, 4, 6))
    together = (
        sum(
            cross_entropy(scores[b : b + 1], classes[b : b + 1], weight=weight[b : b + 1]) * (classes[b] >= 0).sum()
            for b in range(3)
        )
        / (classes >= 0).sum()
    )
    torch.testing.assert_close(cross_entropy(scores, classes, weight=weight), together)
    flipped = dice_loss(scores.flip(2), classes.flip(1))
    torch.testing.assert_close(flipped, dice_loss(scores, classes))


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
def test_shapes_that_do_not_fit_are_refused(loss):
    scores, classes, _ = batch((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"scores must be \(B, K, \*S\) with at least 2 classes.*\(2, 1, 4, 5\)"):
        loss(scores[:, :1], classes)
    with pytest.raises(ValueError, match=r"scores must be \(B, K, \*S\).*\(4, 5\)"):
        loss(scores[0, 0], classes)
    with pytest.raises(ValueError, match=r"classes must be \(B, \*S\) = \(2, 4, 5\) like scores, got \(2, 4, 4\)"):
        loss(scores, classes[..., :4])
    with pytest.raises(TypeError, match=r"classes must be int64, got torch\.int32; convert with \.long\(\)"):
        loss(scores, classes.int())


def test_weight_that_does_not_fit_is_refused():
    scores, classes, weight = batch((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"weight must have the shape of classes \(2, 4, 5\), got \(2, 4\)"):
        cross_entropy(scores, classes, weight=weight[..., 0])


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(ContractileError, match="cross_entropy and dice must not both be 0, got 0 and 0"):
        LossConfig(cross_entropy=0, dice=0)
    with pytest.raises(ContractileError, match=r"dice must be a number from 0 to 1,000,000, got -1; use e.g. 0.0"):
        LossConfig(dice=-1)
    with pytest.raises(ContractileError, match="focal does not exist, got 1; the fields are cross_entropy, dice"):
        LossConfig(focal=1)


def test_agrees_with_an_independent_sum():
    scores, classes, weight = batch((2, 4, 6, 5), dtype=torch.float64)
    s, c, w = scores.numpy(), classes.numpy(), weight.numpy()
    total = 0.0
    for b, y, x in np.argwhere(c >= 0):
        total += w[b, y, x] * (np.log(np.exp(s[b, :, y, x]).sum()) - s[b, c[b, y, x], y, x])
    assert cross_entropy(scores, classes, weight=weight).item() == pytest.approx(total / (c >= 0).sum())
