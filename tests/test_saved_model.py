"""Folders of scikit-learn models: no code in files, no untrusted types, equal predictions."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipeline.decision.rule import DecisionRule
from pipeline.errors import UserError
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier, MultilabelEnsemble
from pipeline.model.saved_model import (
    FinalModel,
    check_savable,
    own_packages,
    save_sklearn,
    write_model,
)
from pipeline.model.sklearn_models import fit_labels
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.tracking.pyfunc_model import ServedModel
from tests.test_preprocessor import fit_preprocessor, numeric_schema, preprocessing
from tests.test_sklearn_models import SMALL_MODELS, model_config

pytestmark = pytest.mark.usefixtures("one_thread")
OWN_MODEL = ("model=sklearn", "model.estimator=tests.test_saved_model.LabelFrequency")


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


def write(folder, config, X, y, seeds=(1, 2)) -> FinalModel:
    """Train an ensemble and write it."""
    schema, rows = numeric_schema(X), np.arange(len(X))
    preprocessor = fit_preprocessor(preprocessing(), X, schema, rows, is_final=True)
    prepared = preprocessor.transform(X)
    ensemble = MultilabelEnsemble([fit_labels(config, prepared, y, seed=it) for it in seeds])
    pipeline = Pipeline([("preprocessor", preprocessor), ("classifier", ensemble)])
    rule = DecisionRule(np.array([1.0, 2.0, 0.5]), np.array([0.5, 0.3, 0.2]))
    final = FinalModel(pipeline, rule, schema, ("l", "m", "n"), False, len(X), len(X), False)
    write_model(folder, final, config)
    return final


def load_served(folder) -> ServedModel:
    served = ServedModel()
    served.load(folder / "model")
    return served


@pytest.mark.parametrize("name", [*SMALL_MODELS, "own"])
def test_a_saved_model_contains_no_code_and_predicts_the_same(make_config, rows, tmp_path, name):
    X, y = rows
    y[:, 1] = 1
    config = make_config(*OWN_MODEL).model if name == "own" else model_config(make_config, name)
    own = own_packages(config)
    assert own == (["tests"] if name == "own" else [])
    final = write(tmp_path, config, X, y)
    serving = json.loads((tmp_path / "model" / "schema.json").read_text())
    packages = {trusted.partition(".")[0] for trusted in serving["trusted"]}
    assert packages <= {"sklearn", "pipeline", *own}
    with zipfile.ZipFile(tmp_path / "model" / "model.skops") as file:
        names = file.namelist()
    assert {file_name.rpartition(".")[2] for file_name in names} <= {"json", "npy"}
    served, rows = load_served(tmp_path), pd.DataFrame(X, columns=final.schema.names)
    y_score = final.predict_proba(X)
    expected = pd.DataFrame(y_score.astype(float), columns=["l", "m", "n"])
    pd.testing.assert_frame_equal(served.predict(None, rows).astype(float), expected)
    decided = served.predict(None, rows, {"decide": True})
    np.testing.assert_array_equal(decided, y_score > [0.5, 0.3, 0.2])


def test_a_changed_file_is_rejected(make_config, rows, tmp_path):
    write(tmp_path, model_config(make_config, "random_forest"), *rows, seeds=(1,))
    with (tmp_path / "model" / "model.skops").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="Expected the model file that was logged"):
        load_served(tmp_path)


def test_a_schema_of_another_format_is_rejected(make_config, rows, tmp_path):
    write(tmp_path, model_config(make_config, "dummy"), *rows)
    path = tmp_path / "model" / "schema.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 3'))
    with pytest.raises(ValueError, match=r"format 1 or 2\. Received: format 3, of"):
        load_served(tmp_path)


def test_a_model_without_imputation_rejects_missing_numbers(make_config, rows, tmp_path):
    config, (X, y) = model_config(make_config, "logistic"), rows
    schema = TableSchema((*numeric_schema(X).columns[:3], Column("x3", "category", ("0", "1"))))
    X[:, 3] = X[:, 3] > 0
    X[0, 3] = np.nan
    options = preprocessing(scaling="none", imputation="none")
    preprocessor = fit_preprocessor(options, X, schema, np.arange(90), is_final=True)
    ensemble = MultilabelEnsemble([fit_labels(config, preprocessor.transform(X), y, seed=1)])
    pipeline = Pipeline([("preprocessor", preprocessor), ("classifier", ensemble)])
    rule = DecisionRule(np.ones(3), np.full(3, 0.5))
    write_model(
        tmp_path, FinalModel(pipeline, rule, schema, ("l", "m", "n"), True, 90, 90, False), config
    )
    served, sent = load_served(tmp_path), schema.decode(X)
    np.testing.assert_array_equal(served.predict(None, sent), pipeline.predict_proba(X))
    sent.loc[[5, 7], "x1"] = None
    with pytest.raises(MlflowException, match=r"one in column 'x1', row 5 .*, and 1 more\."):
        served.predict(None, sent)


@pytest.mark.parametrize("foreign", [Untrusted(), np.load])
def test_functions_and_types_of_other_packages_are_not_trusted(rows, tmp_path, foreign):
    X, y = rows
    estimator = RandomForestClassifier(2).fit(X, y[:, 0])
    estimator.foreign = foreign
    model = MultilabelEnsemble(
        (MultilabelClassifier((FittedEstimator((0,), estimator),), np.zeros(1)),)
    )
    with pytest.raises(UserError, match=r"classes of numpy, scipy, sklearn.* also"):
        save_sklearn(model, tmp_path / "model.skops")


def test_own_estimators_are_checked_before_training(make_config, rows):
    path = "model.estimator=tests.test_saved_model.make_unsavable"
    config = make_config("model=sklearn", path, "model.params={C: 2.0}").model
    with pytest.raises(UserError, match=r"model\.estimator: expected"):
        check_savable(config, *rows)
    check_savable(make_config(*OWN_MODEL).model, *rows)
    with pytest.raises(UserError, match=r"probabilities in \[0, 1\]. Received: from .* to 1\.\d"):
        check_savable(make_config(*OWN_MODEL, "model.params={factor: 3}").model, *rows)
