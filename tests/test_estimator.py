"""Estimators by configuration: what they make of labels that do not vary, refusals, storage."""

import hashlib
import zipfile

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain

from pipeline.errors import UserError
from pipeline.model.multilabel import (
    FittedEstimator,
    MultilabelClassifier,
    MultilabelEnsemble,
    fit_labels,
)
from pipeline.model.sklearn_models import build_estimator, check_model
from pipeline.model.skops_file import check_savable, own_packages, save
from pipeline.tracking.pyfunc_model import load_estimators

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {
    "dummy": (),
    "logistic": (),
    "random_forest": ("model.params.n_estimators=4",),
    "hist_gradient_boosting": ("model.params.max_iter=3",),
    "knn": ("model.params.n_neighbors=5",),
    "classifier_chain": (),
    "svm": (),
}
OWN = ("model=sklearn", "model.estimator=tests.test_estimator.Shares")


class Shares(ClassifierMixin, BaseEstimator):
    """A user's own: each label's share, whatever the row."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y):
        self.classes_, self.share_ = np.unique(y), float(np.mean(y)) * self.factor
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.share_, self.share_], (len(X), 1))


class Secret:
    """Neither the user's named package nor scikit-learn's."""


def secretive(**params):
    estimator = LogisticRegression(**params)
    estimator.secret = [lambda: None]
    return estimator


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    y = (X[:, :3] + rng.normal(size=(90, 3)) > 0.2).astype(np.int8)
    return X, y


def model_config(make_config, name, *overrides):
    return make_config(f"model={name}", *QUICK[name], *overrides).model


@pytest.mark.parametrize("name", QUICK)
def test_labels_that_do_not_vary_are_constant_and_change_nothing_else(make_config, rows, name):
    config, (X, y) = model_config(make_config, name), rows
    if name == "classifier_chain":
        config = model_config(make_config, name, "model.chain_params.order=[4,1,2,0,3]")
    never, always = np.zeros((90, 1), np.int8), np.ones((90, 1), np.int8)
    wide = np.hstack([y[:, :1], never, y[:, 1:2], always, y[:, 2:]])
    answer = fit_labels(config, X, wide, seed=7)(X)
    assert (answer[:, 1] == 0).all()
    assert (answer[:, 3] == 1).all()
    if name == "classifier_chain":
        config = model_config(make_config, name, "model.chain_params.order=[2,1,0]")
    expected = fit_labels(config, X, y, seed=7)(X)
    np.testing.assert_array_equal(answer[:, [0, 2, 4]], expected)


@pytest.mark.parametrize("name", QUICK)
def test_a_fold_in_which_nothing_or_a_single_label_varies(make_config, rows, name):
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


@pytest.mark.parametrize("name", QUICK)
def test_a_label_of_a_single_row_is_no_trouble(make_config, rows, name):
    X, y = rows
    y[:, 1] = 0
    y[17, 1] = 1
    answer = fit_labels(model_config(make_config, name), X, y, seed=7)(X)
    assert ((answer >= 0) & (answer <= 1)).all()
    if name == "svm":  # too rare to learn probabilities of scores
        np.testing.assert_allclose(answer[:, 1], 1 / 90, rtol=1e-6)


def test_an_order_of_the_chain_is_kept_among_the_labels_that_vary(make_config, rows):
    X, y = rows
    y[:, 1] = 1
    order = "model.chain_params.order=[2,1,0]"
    answer = fit_labels(model_config(make_config, "classifier_chain", order), X, y, seed=7)(X)
    chain = ClassifierChain(LogisticRegression(max_iter=1000), order=[1, 0])
    expected = chain.fit(X, y[:, [0, 2]]).predict_proba(X)
    np.testing.assert_array_equal(answer[:, [0, 2]], expected.astype(np.float32))


def test_the_seed_reaches_what_is_left_open_and_nothing_else(make_config):
    forest = model_config(make_config, "random_forest")
    assert build_estimator(forest, seed=5).random_state == 5
    forest = model_config(make_config, "random_forest", "model.params.random_state=1")
    assert build_estimator(forest, seed=5).random_state == 1


def test_what_a_model_is_called(make_config):
    assert model_config(make_config, "random_forest").title == "RandomForestClassifier"
    assert model_config(make_config, "classifier_chain").title == "LogisticRegression in chains"


@pytest.mark.parametrize("name", [*QUICK, "own"])
def test_a_stored_model_holds_no_code_and_answers_the_same(make_config, rows, tmp_path, name):
    X, y = rows
    y[:, 1] = 1
    config = make_config(*OWN).model if name == "own" else model_config(make_config, name)
    own = own_packages(config)
    assert own == (["tests"] if name == "own" else [])
    model = MultilabelEnsemble(tuple(fit_labels(config, X, y, seed=seed) for seed in (1, 2)))
    path = tmp_path / "model.skops"
    trusted = save(model, path, own)
    assert {kind.partition(".")[0] for kind in trusted} <= {"sklearn", *own}
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    assert {member.rpartition(".")[2] for member in names} <= {"json", "npy"}
    stored = {"trusted": trusted, "digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    np.testing.assert_array_equal(load_estimators(str(path), stored)(X), model(X))


def test_a_file_that_was_changed_is_refused(make_config, rows, tmp_path):
    config = model_config(make_config, "random_forest")
    path = tmp_path / "model.skops"
    trusted = save(MultilabelEnsemble((fit_labels(config, *rows, seed=1),)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="Expected the file that was logged"):
        load_estimators(str(path), {"trusted": trusted, "digest": digest})


@pytest.mark.parametrize("foreign", [Secret(), np.load])
def test_types_of_other_packages_and_functions_are_never_trusted(rows, tmp_path, foreign):
    X, y = rows
    estimator = RandomForestClassifier(2).fit(X, y[:, 0])
    estimator.foreign = foreign
    model = MultilabelEnsemble(
        (MultilabelClassifier((FittedEstimator((0,), estimator),), np.zeros(1)),)
    )
    with pytest.raises(UserError, match=r"classes of numpy, scipy, sklearn.* also"):
        save(model, tmp_path / "model.skops")


def test_an_own_estimator_that_could_not_be_kept_is_refused_before_training(make_config, rows):
    path = "model.estimator=tests.test_estimator.secretive"
    config = make_config("model=sklearn", path, "model.params={C: 2.0}").model
    with pytest.raises(UserError, match=r"model\.estimator: expected"):
        check_savable(config, *rows)
    check_savable(make_config(*OWN).model, *rows)
    with pytest.raises(UserError, match=r"probabilities in \[0, 1\]. Received: from .* to 1\.\d"):
        check_savable(make_config(*OWN, "model.params={factor: 3}").model, *rows)


REFUSALS = {
    "model=logistic +model.params.penality=l1": "no such parameter. Did you mean .penalty.",
    "model=logistic model.params.C=-1": "The 'C' parameter of LogisticRegression must be",
    "model=sklearn model.estimator=sklearn.svm.SVCC": "expected the dotted path of a callable",
    "model=sklearn model.estimator=builtins.dict": "an estimator, with fit and predict_proba",
    "model=svm model.calibration=none": "Received: one that only scores. .*calibration=sigmoid",
    "model=sklearn model.estimator=sklearn.cluster.KMeans": "with neither predict_proba nor scores",
    "model=sklearn model.estimator=sklearn.ensemble.VotingClassifier": "TypeError",
    "model=logistic model.strategy=native": "several labels itself. Received: native with",
    "model=random_forest model.calibration=sigmoid": "expected none where one estimator fits all",
    "model=logistic +model.chain_params={cv: 3}": "expected null without model.strategy=classifier_chain",
    "model=classifier_chain +model.chain_params.odrer=1": "no such option. Did you mean 'order'",
    "model=classifier_chain model.chain_params.order=[0,1]": "each label once, as numbers from 0",
    "model=classifier_chain model.chain_params.cv=1": "expected null or at least 2",
    "model=classifier_chain model.chain_params.order=any": "The 'order' parameter of",
    "model=knn model.ensemble_size=3": "all members would be equal. Received: 3",
    "model=random_forest model.params.random_state=1 model.ensemble_size=2": "members would be equal",
    "model=knn training.class_weight=balanced": "has no class_weight to balance",
    "model=random_forest training.class_weight=balanced": "cannot balance each of them",
}


@pytest.mark.parametrize("arguments", REFUSALS)
def test_refused_before_training(make_config, arguments):
    overrides = arguments.replace(": ", ":").split()
    config = make_config(*(word.replace(":", ": ") for word in overrides))
    with pytest.raises(UserError, match=REFUSALS[arguments]):
        check_model(config.model, 3, config.training.class_weight)


@pytest.mark.parametrize("name", QUICK)
def test_what_is_shipped_is_not_refused(make_config, name):
    check_model(make_config(f"model={name}").model, 3, None)
