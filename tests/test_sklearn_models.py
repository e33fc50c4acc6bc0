"""Scikit-learn models by configuration: seeds, titles and checks before training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipeline.errors import UserError
from pipeline.model.sklearn_checks import check_model, check_takes_mask, check_takes_weights
from pipeline.model.sklearn_models import build_estimator, fit_labels

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL_MODELS = {
    "dummy": (),
    "logistic": (),
    "random_forest": ("model.params.n_estimators=4",),
    "hist_gradient_boosting": ("model.params.max_iter=3",),
    "knn": ("model.params.n_neighbors=5",),
    "classifier_chain": (),
    "svm": (),
}


def model_config(make_config, name, *overrides):
    return make_config(f"model={name}", *SMALL_MODELS[name], *overrides).model


def test_the_seed_sets_unset_random_states_only(make_config):
    forest = model_config(make_config, "random_forest")
    assert build_estimator(forest, seed=5).random_state == 5
    forest = model_config(make_config, "random_forest", "model.params.random_state=1")
    assert build_estimator(forest, seed=5).random_state == 1


def test_titles(make_config):
    assert model_config(make_config, "random_forest").title == "RandomForestClassifier"
    assert model_config(make_config, "classifier_chain").title == "LogisticRegression in chains"


INVALID = {
    "model=logistic +model.params.penality=l1": "no such parameter. Did you mean .penalty.",
    "model=logistic model.params.C=-1": "The 'C' parameter of LogisticRegression must be",
    "model=sklearn model.estimator=sklearn.svm.SVCC": "expected the dotted path of a callable",
    "model=sklearn model.estimator=builtins.dict": "an estimator, with fit and predict_proba",
    "model=svm model.calibration=none": "one with decision_function only. .*calibration=sigmoid",
    "model=sklearn model.estimator=sklearn.cluster.KMeans": "neither predict_proba nor dec",
    "model=sklearn model.estimator=sklearn.ensemble.VotingClassifier": "TypeError",
    "model=logistic model.strategy=native": "multi-label support for native. Received",
    "model=random_forest model.calibration=sigmoid": "expected none with model.strategy=native",
    "model=logistic +model.chain_params={cv: 3}": "expected null without model.strategy",
    "model=classifier_chain +model.chain_params.odrer=1": "no such parameter. Did you mean .order",
    "model=classifier_chain model.chain_params.order=[0,1]": "each label once, as numbers from 0",
    "model=classifier_chain model.chain_params.cv=1": "expected null or at least 2",
    "model=classifier_chain model.chain_params.order=any": "The 'order' parameter of",
    "model=knn model.ensemble_size=3": "all models of the ensemble would be equal",
    "model=random_forest model.params.random_state=1 model.ensemble_size=2": "would be equal",
    "model=knn training.class_weight=balanced": "has no class_weight",
    "model=random_forest training.class_weight=balanced": "cannot balance each label",
    "model=classifier_chain training.class_weight=effective_number": "cannot have other weights",
}


@pytest.mark.parametrize("arguments", INVALID)
def test_invalid_configurations_are_rejected_before_training(make_config, arguments):
    overrides = arguments.replace(": ", ":").split()
    config = make_config(*(override.replace(":", ": ") for override in overrides))
    with pytest.raises(UserError, match=INVALID[arguments]):
        check_model(config.model, 3, config.training.class_weight)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_shipped_models_are_valid(make_config, name):
    check_model(make_config(f"model={name}").model, 3, None)


N, RNG = 40, np.random.default_rng(2)
X = RNG.normal(size=(N, 3))
Y = (X @ RNG.normal(size=(3, 4)) + RNG.normal(size=(N, 4)) > 0).astype(np.int8)
MASK = RNG.random(Y.shape) < 0.6
MASK[:, 3] = False


def expected_scores(label, rows, **fit_params):
    model = LogisticRegression(max_iter=1000)
    return model.fit(X[rows], Y[rows, label], **fit_params).predict_proba(X)[:, 1]


def test_each_label_learns_from_the_rows_that_know_it(make_config):
    weight = RNG.uniform(0, 2, N).astype(np.float32)
    config = make_config("model=logistic", "model.params.max_iter=1000").model
    model = fit_labels(config, X, Y * MASK, seed=0, label_mask=MASK, sample_weight=weight)
    y_score = model(X)
    for label in range(3):
        rows = MASK[:, label]
        expected = expected_scores(label, rows, sample_weight=weight[rows])
        np.testing.assert_allclose(y_score[:, label], expected, rtol=1e-6)
        frequency = np.average(Y[rows, label], weights=weight[rows])
        assert model.frequencies[label] == pytest.approx(frequency, rel=1e-6)
    assert (y_score[:, 3] == 0.5).all()


def test_a_label_with_one_value_in_the_rows_that_know_it_has_that_frequency(make_config):
    mask = np.ones(Y.shape, dtype=bool)
    mask[Y[:, 0] == 0, 0] = False
    weight = np.where(Y[:, 1] == 1, 0, 2).astype(np.float32)
    config = make_config("model=logistic").model
    model = fit_labels(config, X, Y * mask, seed=0, label_mask=mask, sample_weight=weight)
    assert [it.labels for it in model.estimators] == [(2,), (3,)]
    assert model.frequencies[:2].tolist() == [1.0, 0.0]


@settings(max_examples=10, deadline=None)
@given(weight=st.lists(st.integers(0, 3), min_size=N, max_size=N).filter(any))
def test_weights_of_rows_are_repeated_rows(make_config, weight):
    options = ("+model.params.tol=1e-10", "model.params.max_iter=5000")
    config = make_config("model=logistic", *options).model
    weighted = fit_labels(config, X, Y, seed=0, sample_weight=np.array(weight, "f4"))(X)
    rows = np.repeat(np.arange(N), weight)
    np.testing.assert_allclose(weighted, fit_labels(config, X[rows], Y[rows], seed=0)(X), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "check", "expected"),
    [
        ("classifier_chain", check_takes_mask, "Received: classifier_chain. Type: model.strategy="),
        ("classifier_chain", check_takes_weights, "Received: classifier_chain. Type: model.strat"),
        (
            "knn",
            check_takes_weights,
            "takes sample_weight, because the rows have weights",
        ),
    ],
)
def test_models_that_take_no_missing_labels_or_weights_are_rejected(
    make_config, name, check, expected
):
    with pytest.raises(UserError, match=expected):
        check(model_config(make_config, name))
    check(model_config(make_config, "logistic"))
    check(model_config(make_config, "svm"))
