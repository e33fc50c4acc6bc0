"""Rows that a fit does not train on have no influence on it, not even as padding."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.preprocessing import TableSchema, fit_preprocessors
from pipeline.training.base import FitSpec
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.stack import monitored_test_rows
from tests.keras_reference import LOGISTIC_REGRESSION, Y, make_fits, training_config
from tests.keras_reference import X as TABLE
from tests.test_preprocessor import preprocessing

SCHEMA = TableSchema.of_numbers("abcde")


def fits_without_row_0(X, sizes=(40, 41)):
    """Return fits of unequal size, so that batches are padded, that hold row 0 out."""
    options = preprocessing(scaling="none")
    trains = [np.arange(1, size) for size in sizes]
    preprocessors = fit_preprocessors(options, X, SCHEMA, trains)
    return [
        FitSpec(seed, train, np.arange(42, 50), preprocessor)
        for seed, (train, preprocessor) in enumerate(zip(trains, preprocessors, strict=True))
    ]


def train(X, fits):
    config = training_config(optimizer="sgd", fits_per_program=2)
    return list(KerasTrainer(LOGISTIC_REGRESSION, config, X, Y, fits).train())


def test_a_held_out_row_that_overflows_does_not_reach_the_loss():
    expected = train(TABLE, fits_without_row_0(TABLE))
    for value in (np.float32(3e38), np.nan):
        X = TABLE.copy()
        X[0] = value  # the network's sums overflow
        results = train(X, fits_without_row_0(X))
        for result, other in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result.loss, other.loss)
            for weight, other_weight in zip(result.weights, other.weights, strict=True):
                np.testing.assert_array_equal(weight, other_weight)


def test_the_monitored_test_rows_are_a_tenth_as_many_as_the_training_rows_at_most():
    (fit,) = make_fits((45,))
    monitored = monitored_test_rows(replace(fit, train=np.arange(45), test=np.arange(45, 55)))
    assert len(set(monitored)) == 4
    assert set(monitored) < set(range(45, 55))
    other = replace(fit, seed=fit.seed + 1, train=np.arange(45), test=np.arange(45, 55))
    assert set(monitored_test_rows(other)) != set(monitored)
    few = replace(fit, train=np.arange(45), test=np.arange(45, 48))
    np.testing.assert_array_equal(monitored_test_rows(few), few.test)


@pytest.mark.parametrize("first", [TABLE[0], np.full(5, np.nan, np.float32)])
def test_batch_normalization_is_noticed_where_the_first_rows_are_equal(first):
    def build(n_features):
        output = keras.layers.Dense(Y.shape[1], activation="sigmoid")
        return keras.Sequential(
            [keras.Input((n_features,)), keras.layers.BatchNormalization(), output]
        )

    X = TABLE.copy()
    X[:45] = first
    rows = np.arange(49)
    (preprocessor,) = fit_preprocessors(preprocessing(), X, SCHEMA, [rows])
    fits = [FitSpec(0, rows, rows[:0], preprocessor)]
    trainer = KerasTrainer(build, training_config(batch_size=16), X, Y, fits)
    assert trainer._shapes[0].last_batch_size == 1  # 49 rows in exact batches of 16


def test_a_final_model_that_diverged_is_rejected():
    fit, *_ = make_fits((40,))
    trainer = KerasTrainer(LOGISTIC_REGRESSION, training_config(epochs=1), TABLE, Y, [fit])
    (result,) = trainer.train()
    broken = [weight.copy() for weight in result.weights]
    broken[0][0] = np.nan
    result = type(result)(y_score=result.y_score, seconds=0.0, weights=tuple(broken))
    with pytest.raises(UserError, match=r"Expected finite weights.*Lower training\.learning_rate"):
        trainer.final_model([result], fit)
