import numpy as np
import pytest
from sklearn.datasets import make_multilabel_classification

from pipeline.config.schema_data import SyntheticConfig
from pipeline.dataset.synthetic import load
from pipeline.errors import UserError

DEFAULTS = {
    "n_samples": 40,
    "n_features": 6,
    "n_classes": 4,
    "n_labels": 2,
    "length": 20,
    "allow_unlabeled": True,
    "random_state": 0,
}
CASES = [
    *({"random_state": seed} for seed in range(6)),
    {"n_classes": 3, "random_state": 1, "n_samples": 12},  # one class of probability near 1e-4
    {"allow_unlabeled": False},
    {"n_labels": 0},
    {"n_labels": 4, "n_classes": 5},
    {"length": 1},
    {"n_classes": 1, "n_labels": 1},
    {"n_classes": 30, "n_labels": 12},
    {"n_features": 1},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_bit_identical_to_scikit_learn(changes):
    arguments = {**DEFAULTS, **changes}
    X, y = make_multilabel_classification(**arguments)
    dataset = load(
        SyntheticConfig(
            kind="synthetic",
            missing_labels="refuse",
            predict_rows=(),
            name=None,
            drop_duplicates=False,
            **arguments,
        )
    )
    np.testing.assert_array_equal(dataset.X, X)
    np.testing.assert_array_equal(dataset.y, y)


def test_the_tutorials_first_row_and_counts(make_config):
    dataset = load(make_config().dataset)
    assert dataset.X.shape == (1000, 10)
    assert dataset.X[0].tolist() == [3, 3, 6, 7, 8, 2, 11, 11, 1, 3]
    assert dataset.y[0].tolist() == [1, 1, 0]


def test_settings_without_a_possible_row_are_an_error():
    arguments = {**DEFAULTS, "n_labels": 0, "allow_unlabeled": False}
    with pytest.raises(UserError, match="every row is unlabeled"):
        load(
            SyntheticConfig(
                kind="synthetic",
                missing_labels="refuse",
                predict_rows=(),
                name=None,
                drop_duplicates=False,
                **arguments,
            )
        )
