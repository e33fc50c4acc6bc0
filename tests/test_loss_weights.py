"""Class weights and weights of labels, against scikit-learn and the paper's formula."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from pipeline.errors import UserError
from pipeline.training.base import NO_ROWS, FitSpec
from pipeline.training.loss_weights import check_fits, list_label_weights, loss_weights
from tests.keras_reference import training_config

Y = (np.random.default_rng(0).random((60, 4)) < [0.5, 0.1, 0.0, 1.0]).astype(np.int8)
TRAIN = np.arange(0, 60, 2)
Y[1::2] = 1 - Y[1::2]  # labels of the test rows have no influence


def test_balanced_weights_are_those_of_scikit_learn():
    weights = loss_weights(training_config(class_weight="balanced"), Y, TRAIN)
    for label in range(2):
        column = Y[TRAIN, label]
        expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=column)
        np.testing.assert_allclose(weights[:, label], expected, rtol=1e-6)
    assert (weights[:, 2:] == 1).all()
    assert (loss_weights(training_config(), Y, TRAIN) == 1).all()


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.99])
def test_weights_by_effective_number_have_the_ratio_of_the_paper(beta):
    config = training_config(class_weight="effective_number", class_weight_beta=beta)
    weights = loss_weights(config, Y, TRAIN)
    for label in range(2):
        n = np.bincount(Y[TRAIN, label])
        absent, present = [(1 - beta) / (1 - beta**count) for count in n]
        assert weights[1, label] / weights[0, label] == pytest.approx(present / absent, rel=1e-5)
        assert weights[:, label] @ n == pytest.approx(len(TRAIN), rel=1e-6)
    assert (weights[:, 2:] == 1).all()


def test_weights_by_effective_number_lie_between_none_and_balanced_ones():
    def ratio(**changes):
        weights = loss_weights(training_config(**changes), Y, TRAIN)
        return weights[1, 1] / weights[0, 1]

    betas = [0.0, 0.5, 0.9, 0.99, 1 - 1e-9]
    ratios = [ratio(class_weight="effective_number", class_weight_beta=beta) for beta in betas]
    assert ratios == sorted(ratios)
    assert ratios[0] == 1
    assert ratios[-1] == pytest.approx(ratio(class_weight="balanced"), rel=1e-5)


def test_weights_of_labels_multiply_those_of_classes():
    config = training_config(class_weight="balanced")
    expected = loss_weights(config, Y, TRAIN) * [1, 3, 1, 0.5]
    for given in ((1, 3, 1, 0.5), {"b": 3, "d": 0.5}):
        changed = training_config(class_weight="balanced", label_weights=given)
        weights = loss_weights(list_label_weights(changed, "abcd"), Y, TRAIN)
        np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1.0, 2.0), "one number for each of 4 labels.*Received: 2 numbers"),
        ({"tag_e": 2.0}, r"names of labels\. Received: 'tag_e'\. Did you mean"),
    ],
    ids=str,
)
def test_weights_of_other_labels_are_rejected(given, expected):
    names = ["tag_a", "tag_b", "tag_c", "tag_d"]
    with pytest.raises(UserError, match=f"training.label_weights: expected {expected}"):
        list_label_weights(training_config(label_weights=given), names)


@pytest.mark.parametrize("given", ["[1,0]", "[1,-2]", "[true]", "2", "{a: x}", "a", "[inf]"])
def test_other_weights_than_positive_numbers_are_rejected(make_config, given):
    with pytest.raises(UserError, match=r"training\.label_weights: expected numbers above 0"):
        make_config(f"training.label_weights={given}")


def test_class_weights_are_those_of_the_known_labels_with_the_weights_of_their_rows():
    rng = np.random.default_rng(1)
    y = (rng.random((60, 3)) < 0.4).astype(np.int8)
    mask, weight = rng.random(y.shape) < 0.6, rng.integers(0, 4, 60)
    y[TRAIN[mask[TRAIN, 2]], 2] = 0  # only unknown cells have this label
    config = training_config(class_weight="balanced")
    weights = loss_weights(config, y, TRAIN, mask, weight.astype(np.float32))
    for label in range(2):
        rows = np.repeat(TRAIN, weight[TRAIN] * mask[TRAIN, label])
        expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=y[rows, label])
        np.testing.assert_allclose(weights[:, label], expected, rtol=1e-6)
    assert (weights[:, 2] == 1).all()


@pytest.mark.parametrize(
    ("mask", "weight", "expected"),
    [
        (np.arange(9) < 6, None, "a known label among the validation rows .*Received: none, in b"),
        (np.arange(9) > 3, None, "a known label among the training rows .*Received: none, in a"),
        (None, np.arange(9) // 4, "a weight above 0 among the training rows .*only 0, in a"),
        (np.arange(9) % 2, 1 - np.arange(9) % 2, "a known label in a row with a weight above 0"),
    ],
    ids=str,
)
def test_fits_without_a_known_label_or_a_weight_are_rejected(mask, weight, expected):
    fits = [
        FitSpec(0, np.arange(4), NO_ROWS, None, NO_ROWS, "a"),
        FitSpec(0, np.arange(6), NO_ROWS, None, np.arange(6, 9), "b"),
    ]
    mask = None if mask is None else mask.astype(bool)[:, None]
    with pytest.raises(UserError, match=f"cv: expected {expected}"):
        check_fits(fits, mask, None if weight is None else weight.astype(np.float32))
