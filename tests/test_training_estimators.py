"""Estimators on folds, against scikit-learn's own cross-validation over the same splits."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_validate
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.evaluation.evaluator import Evaluator, make_trainer
from pipeline.evaluation.inputs import plan_fits
from pipeline.training import sklearn_trainer
from pipeline.training.base import Stopped, fit_seed

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = (
    *("dataset.n_samples=120", "dataset.n_features=6", "cv.n_splits=3", "cv.n_repeats=1"),
    "preprocessing=standard",
)
FOREST = ("model=random_forest", "model.params.n_estimators=5")


def run(config):
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation(), evaluator


def to_single(X):
    return X.astype(np.float32)


def scaled(estimator):
    """What a fold's rows go through: scaled in double precision, then the model's input."""
    return make_pipeline(StandardScaler(), FunctionTransformer(to_single), estimator)


# Seeds of their own, as scikit-learn's loops give every fold the same.
LOOPS = {
    "dummy": ((), MultiOutputClassifier(DummyClassifier(strategy="prior"))),
    "logistic": ((), MultiOutputClassifier(LogisticRegression(max_iter=1000))),
    "random_forest": (
        ("model.params.n_estimators=5", "model.params.random_state=3"),
        RandomForestClassifier(5, random_state=3),
    ),
    "hist_gradient_boosting": (
        ("model.params.max_iter=3", "model.params.random_state=3"),
        MultiOutputClassifier(
            HistGradientBoostingClassifier(max_iter=3, early_stopping=False, random_state=3)
        ),
    ),
    "knn": ((), KNeighborsClassifier(10)),
    "classifier_chain": (
        ("model.chain_params.order=[2,0,1]",),
        ClassifierChain(LogisticRegression(max_iter=1000), order=[2, 0, 1]),
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_folds_are_those_of_scikit_learns_cross_validation(make_config, name):
    overrides, estimator = LOOPS[name]
    config = make_config(*SMALL, f"model={name}", *overrides)
    evaluation, evaluator = run(config)
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y
    folds = KFold(3, shuffle=True, random_state=1)
    loop = scaled(estimator)
    if name == "classifier_chain":  # whose answer cross_val_predict does not take
        expected = np.empty(y.shape)
        for train, test in folds.split(X):
            expected[test] = loop.fit(X[train], y[train]).predict_proba(X[test])
    else:
        pairs = cross_val_predict(loop, X, y, cv=folds, method="predict_proba")
        expected = np.stack([pair[:, 1] for pair in pairs], axis=1)
    for fold in evaluation.folds:
        np.testing.assert_array_equal(fold.y_score, expected[fold.split.test].astype(np.float32))
    scores = cross_validate(loop, X, y, cv=folds, scoring=("accuracy", "f1_micro", "f1_macro"))
    for metric in ("accuracy", "f1_micro", "f1_macro"):
        ours = [fold.scores[metric] for fold in evaluation.folds]
        np.testing.assert_allclose(ours, scores[f"test_{metric}"], rtol=1e-12)
    final = evaluation.final.model(evaluation.final.preprocessor.transform(evaluation.dataset.X))
    whole = loop.fit(X, y).predict_proba(X)
    whole = np.stack([pair[:, 1] for pair in whole], axis=1) if isinstance(whole, list) else whole
    np.testing.assert_array_equal(final, whole.astype(np.float32))
    assert evaluator.warnings == []


def test_what_an_svm_says_is_learnt_from_inner_folds_of_training_rows(make_config):
    evaluation, _ = run(make_config(*SMALL, "model=svm"))
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y
    for fold in evaluation.folds:
        train, test = fold.split.train, fold.split.test
        seed = fit_seed(1, (fold.split.repeat, fold.split.fold))
        inner = StratifiedKFold(5, shuffle=True, random_state=seed)
        for label in range(3):
            loop = scaled(CalibratedClassifierCV(SVC(), cv=inner, ensemble=False))
            expected = loop.fit(X[train], y[train, label]).predict_proba(X[test])[:, 1]
            np.testing.assert_array_equal(fold.y_score[:, label], expected.astype(np.float32))


def test_members_of_an_ensemble_differ_by_seed_and_are_averaged(make_config):
    evaluation, _ = run(make_config(*SMALL, *FOREST, "model.ensemble_size=3", "preprocessing=none"))
    X, y = evaluation.dataset.X, evaluation.dataset.y

    def answer(place, train, rows):
        members = []
        for member in range(3):
            seed = fit_seed(1, place, member=member)
            forest = RandomForestClassifier(5, random_state=seed).fit(X[train], y[train])
            members.append(np.stack([p[:, 1] for p in forest.predict_proba(X[rows])], axis=1))
        assert np.ptp(members, axis=0).max() > 0
        return np.mean(members, axis=0)

    for number, fold in enumerate(evaluation.folds):
        expected = answer((0, number), fold.split.train, fold.split.test)
        np.testing.assert_allclose(fold.y_score, expected, rtol=1e-6)
    rows = np.arange(len(X))
    np.testing.assert_allclose(evaluation.final.model(X), answer("final", rows, rows), rtol=1e-6)


def test_balanced_weights_are_the_estimators_own(make_config):
    evaluation, _ = run(make_config(*SMALL, "model=logistic", "training.class_weight=balanced"))
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y
    balanced = LogisticRegression(max_iter=1000, class_weight="balanced")
    for fold in evaluation.folds:
        loop = scaled(MultiOutputClassifier(balanced)).fit(X[fold.split.train], y[fold.split.train])
        expected = [pair[:, 1] for pair in loop.predict_proba(X[fold.split.test])]
        np.testing.assert_array_equal(fold.y_score, np.stack(expected, axis=1).astype(np.float32))


def test_what_is_for_networks_is_said_to_be_and_changes_nothing(make_config):
    plain, _ = run(make_config(*SMALL, *FOREST))
    ignored = ("training.early_stopping.patience=3", "training.loss=focal", "training.epochs=2")
    other, evaluator = run(make_config(*SMALL, *FOREST, *ignored))
    for one, two in zip(plain.folds, other.folds, strict=True):
        np.testing.assert_array_equal(one.y_score, two.y_score)
    assert evaluator.warnings == [
        f"{key} is for networks; RandomForestClassifier is trained without"
        for key in ("training.early_stopping", "training.loss=focal")
    ]


def test_what_estimators_warn_of_is_counted_and_told_once(make_config):
    _, evaluator = run(make_config(*SMALL, "model=logistic", "model.params.max_iter=1"))
    (warning,) = evaluator.warnings
    assert warning.startswith("in 4 of 4 fits LogisticRegression said: ConvergenceWarning: lbfgs")
    assert "\n" not in warning


class Own(ClassifierMixin, BaseEstimator):
    """A user's own, which another process has to import from the working directory."""

    def fit(self, X, y):
        self.classes_, self.share_ = np.unique(y), float(np.mean(y))
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.share_, self.share_], (len(X), 1))


OWN = ("model=sklearn", "model.estimator=tests.test_training_estimators.Own")


@pytest.mark.parametrize("model", [FOREST, OWN])
def test_processes_find_what_one_process_finds(make_config, monkeypatch, model):
    alone, _ = run(make_config(*SMALL, *model, "training.n_threads=1"))
    monkeypatch.setattr(sklearn_trainer, "START_SECONDS", -1.0)
    beside, _ = run(make_config(*SMALL, *model, "training.n_threads=2"))
    for one, two in zip(alone.folds, beside.folds, strict=True):
        np.testing.assert_array_equal(one.y_score, two.y_score)
    x = alone.final.preprocessor.transform(alone.dataset.X)
    np.testing.assert_array_equal(alone.final.model(x), beside.final.model(x))


def test_fits_are_counted_and_may_be_stopped(make_config):
    config = make_config(*SMALL, *FOREST)
    dataset = load(config.dataset)
    fits, _, _ = plan_fits(config, dataset, make_splits(config.cv, dataset))
    trainer, done = make_trainer(config, dataset, fits), []
    assert (trainer.unit, trainer.units_per_fit) == ("fits", 1)
    fitted = list(trainer.train(done.append))
    assert done == [1, 1, 1, 1]
    assert [one.estimator is None for one in fitted] == [True, True, True, False]
    assert all(len(one.loss) == 0 for one in fitted)
    training = trainer.train(lambda n: trainer.stop())
    with pytest.raises(Stopped):
        next(training)
