"""Models saved with skops: no code, no untrusted types, equal predictions."""

import hashlib
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from pipeline.errors import UserError
from pipeline.model.multilabel import (
    FittedEstimator,
    MultilabelClassifier,
    MultilabelEnsemble,
    fit_labels,
)
from pipeline.model.skops_file import check_savable, own_packages, save
from pipeline.tracking.pyfunc_model import load_estimators
from tests.test_sklearn_models import SMALL_MODELS, model_config

pytestmark = pytest.mark.usefixtures("one_thread")
OWN_MODEL = ("model=sklearn", "model.estimator=tests.test_skops_file.LabelFrequency")


class LabelFrequency(ClassifierMixin, BaseEstimator):
    """The user's own estimator: the frequency of the label, multiplied by a factor."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y):
        self.classes_, self.frequency_ = np.unique(y), float(np.mean(y)) * self.factor
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.frequency_, self.frequency_], (len(X), 1))


class Untrusted:
    """A class that is neither the user's nor scikit-learn's."""


def make_unsavable(**params):
    estimator = LogisticRegression(**params)
    estimator.function = [lambda: None]
    return estimator


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    y = (X[:, :3] + rng.normal(size=(90, 3)) > 0.2).astype(np.int8)
    return X, y


@pytest.mark.parametrize("name", [*SMALL_MODELS, "own"])
def test_a_saved_model_contains_no_code_and_predicts_the_same(make_config, rows, tmp_path, name):
    X, y = rows
    y[:, 1] = 1
    config = make_config(*OWN_MODEL).model if name == "own" else model_config(make_config, name)
    own = own_packages(config)
    assert own == (["tests"] if name == "own" else [])
    model = MultilabelEnsemble(tuple(fit_labels(config, X, y, seed=seed) for seed in (1, 2)))
    path = tmp_path / "model.skops"
    trusted = save(model, path, own)
    assert {trusted_type.partition(".")[0] for trusted_type in trusted} <= {"sklearn", *own}
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    assert {file_name.rpartition(".")[2] for file_name in names} <= {"json", "npy"}
    metadata = {"trusted": trusted, "digest": hashlib.sha256(path.read_bytes()).hexdigest()}
    np.testing.assert_array_equal(load_estimators(skops.io, str(path), metadata)(X), model(X))


def test_a_changed_file_is_rejected(make_config, rows, tmp_path):
    config = model_config(make_config, "random_forest")
    path = tmp_path / "model.skops"
    trusted = save(MultilabelEnsemble((fit_labels(config, *rows, seed=1),)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="Expected the model file that was logged"):
        load_estimators(skops.io, str(path), {"trusted": trusted, "digest": digest})


@pytest.mark.parametrize("foreign", [Untrusted(), np.load])
def test_functions_and_types_of_other_packages_are_not_trusted(rows, tmp_path, foreign):
    X, y = rows
    estimator = RandomForestClassifier(2).fit(X, y[:, 0])
    estimator.foreign = foreign
    model = MultilabelEnsemble(
        (MultilabelClassifier((FittedEstimator((0,), estimator),), np.zeros(1)),)
    )
    with pytest.raises(UserError, match=r"classes of numpy, scipy, sklearn.* also"):
        save(model, tmp_path / "model.skops")


def test_own_estimators_are_checked_before_training(make_config, rows):
    path = "model.estimator=tests.test_skops_file.make_unsavable"
    config = make_config("model=sklearn", path, "model.params={C: 2.0}").model
    with pytest.raises(UserError, match=r"model\.estimator: expected"):
        check_savable(config, *rows)
    check_savable(make_config(*OWN_MODEL).model, *rows)
    with pytest.raises(UserError, match=r"probabilities in \[0, 1\]. Received: from .* to 1\.\d"):
        check_savable(make_config(*OWN_MODEL, "model.params={factor: 3}").model, *rows)
