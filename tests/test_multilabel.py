"""Multi-label classifiers: constant and rare labels, and the order of chains."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain

from pipeline.model.sklearn_models import fit_labels
from tests.test_sklearn_models import SMALL_MODELS, model_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_constant_labels_get_their_frequency_and_do_not_affect_others(make_config, rows, name):
    config, (X, y) = model_config(make_config, name), rows
    if name == "classifier_chain":
        config = model_config(make_config, name, "model.chain_params.order=[4,1,2,0,3]")
    never, always = np.zeros((90, 1), np.int8), np.ones((90, 1), np.int8)
    wide = np.hstack([y[:, :1], never, y[:, 1:2], always, y[:, 2:]])
    y_score = fit_labels(config, X, wide, seed=7)(X)
    assert (y_score[:, 1] == 0).all()
    assert (y_score[:, 3] == 1).all()
    if name == "classifier_chain":
        config = model_config(make_config, name, "model.chain_params.order=[2,1,0]")
    expected = fit_labels(config, X, y, seed=7)(X)
    np.testing.assert_array_equal(y_score[:, [0, 2, 4]], expected)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_at_most_one_varying_label(make_config, rows, name):
    config, (X, y) = model_config(make_config, name), rows
    if name == "classifier_chain":
        config = model_config(make_config, name, "model.chain_params.order=null")
    constant = np.tile(np.array([0, 1, 1], np.int8), (90, 1))
    np.testing.assert_array_equal(fit_labels(config, X, constant, seed=7)(X), constant)
    constant[:, 1] = y[:, 1]
    alone = fit_labels(config, X, y[:, 1:2], seed=7)(X)
    np.testing.assert_array_equal(fit_labels(config, X, constant, seed=7)(X)[:, 1:2], alone)
    assert ((alone >= 0) & (alone <= 1)).all()
    assert name == "dummy" or np.ptp(alone) > 0


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_a_label_with_a_single_positive_row(make_config, rows, name):
    X, y = rows
    y[:, 1] = 0
    y[17, 1] = 1
    y_score = fit_labels(model_config(make_config, name), X, y, seed=7)(X)
    assert ((y_score >= 0) & (y_score <= 1)).all()
    if name == "svm":  # too rare for calibration
        np.testing.assert_allclose(y_score[:, 1], 1 / 90, rtol=1e-6)


def test_the_order_of_a_chain_skips_constant_labels(make_config, rows):
    X, y = rows
    y[:, 1] = 1
    order = "model.chain_params.order=[2,1,0]"
    y_score = fit_labels(model_config(make_config, "classifier_chain", order), X, y, seed=7)(X)
    chain = ClassifierChain(LogisticRegression(max_iter=1000), order=[1, 0])
    expected = chain.fit(X, y[:, [0, 2]]).predict_proba(X)
    np.testing.assert_array_equal(y_score[:, [0, 2]], expected.astype(np.float32))
