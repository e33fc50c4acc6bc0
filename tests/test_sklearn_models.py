"""Scikit-learn models by configuration: seeds, titles and checks before training."""

import pytest

from pipeline.errors import UserError
from pipeline.model.sklearn_checks import check_model
from pipeline.model.sklearn_models import build_estimator

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
