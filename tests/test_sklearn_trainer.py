"""`SklearnTrainer` against scikit-learn's cross-validation over the same splits."""

from dataclasses import replace

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
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.inputs import make_trainer, plan_fits
from pipeline.report.page import format_warnings
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


class Float32Scaler(StandardScaler):
    """Learns in double precision and scales in single precision, as the preprocessing does."""

    def transform(self, X):
        center, scale = self.mean_.astype(np.float32), self.scale_.astype(np.float32)
        return (X.astype(np.float32) - center) / scale


def scaled(estimator):
    return make_pipeline(Float32Scaler(), estimator)


# With a fixed random_state, because scikit-learn's loops give every fold the same seed.
ESTIMATORS = {
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


@pytest.mark.parametrize("name", ESTIMATORS)
def test_folds_equal_those_of_scikit_learns_cross_validation(make_config, name):
    overrides, estimator = ESTIMATORS[name]
    config = make_config(*SMALL, f"model={name}", *overrides)
    evaluation, evaluator = run(config)
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y
    folds = KFold(3, shuffle=True, random_state=1)
    pipe = scaled(estimator)
    if name == "classifier_chain":  # cross_val_predict rejects its probabilities
        expected = np.empty(y.shape)
        for train, test in folds.split(X):
            expected[test] = pipe.fit(X[train], y[train]).predict_proba(X[test])
    else:
        pairs = cross_val_predict(pipe, X, y, cv=folds, method="predict_proba")
        expected = np.stack([pair[:, 1] for pair in pairs], axis=1)
    for fold in evaluation.folds:
        np.testing.assert_array_equal(fold.y_score, expected[fold.split.test].astype(np.float32))
    scores = cross_validate(pipe, X, y, cv=folds, scoring=("accuracy", "f1_micro", "f1_macro"))
    for metric in ("accuracy", "f1_micro", "f1_macro"):
        actual = [fold.scores[metric] for fold in evaluation.folds]
        np.testing.assert_allclose(actual, scores[f"test_{metric}"], rtol=1e-12)
    final = evaluation.final.predict_proba(evaluation.dataset.X)
    expected = pipe.fit(X, y).predict_proba(X)
    if isinstance(expected, list):
        expected = np.stack([pair[:, 1] for pair in expected], axis=1)
    np.testing.assert_array_equal(final, expected.astype(np.float32))
    assert evaluator.warnings == []


def test_an_svm_is_calibrated_on_inner_folds_of_the_training_rows(make_config):
    evaluation, _ = run(make_config(*SMALL, "model=svm"))
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y
    for fold in evaluation.folds:
        train, test = fold.split.train, fold.split.test
        seed = fit_seed(1, (fold.split.repeat, fold.split.fold))
        inner = StratifiedKFold(5, shuffle=True, random_state=seed)
        for label in range(3):
            pipe = scaled(CalibratedClassifierCV(SVC(), cv=inner, ensemble=False))
            expected = pipe.fit(X[train], y[train, label]).predict_proba(X[test])[:, 1]
            np.testing.assert_array_equal(fold.y_score[:, label], expected.astype(np.float32))


def test_ensembles_average_models_with_different_seeds(make_config):
    evaluation, _ = run(make_config(*SMALL, *FOREST, "model.ensemble_size=3", "preprocessing=none"))
    X, y = evaluation.dataset.X, evaluation.dataset.y

    def average(fold_id, train, rows):
        y_scores = []
        for ensemble_index in range(3):
            seed = fit_seed(1, fold_id, ensemble_index=ensemble_index)
            forest = RandomForestClassifier(5, random_state=seed).fit(X[train], y[train])
            y_scores.append(np.stack([p[:, 1] for p in forest.predict_proba(X[rows])], axis=1))
        assert np.ptp(y_scores, axis=0).max() > 0
        return np.mean(y_scores, axis=0)

    for fold_index, fold in enumerate(evaluation.folds):
        expected = average((0, fold_index), fold.split.train, fold.split.test)
        np.testing.assert_allclose(fold.y_score, expected, rtol=1e-6)
    rows = np.arange(len(X))
    y_score = evaluation.final.model.predict_proba(X)
    np.testing.assert_allclose(y_score, average("final", rows, rows), rtol=1e-6)


@pytest.mark.parametrize("kind", ["balanced", "effective_number"])
def test_class_weights(make_config, kind):
    options = (f"training.class_weight={kind}", "training.class_weight_beta=0.9")
    evaluation, _ = run(make_config(*SMALL, "model=logistic", *options))
    X, y = evaluation.dataset.X.astype(np.float64), evaluation.dataset.y

    def expected_weight(y):
        n = np.bincount(y)
        weight = 1 / (1 - 0.9**n)
        return dict(enumerate((weight * len(y) / (n * weight).sum()).astype(np.float32).tolist()))

    for fold in evaluation.folds:
        train, test = fold.split.train, fold.split.test
        for label in range(y.shape[1]):
            weight = kind if kind == "balanced" else expected_weight(y[train, label])
            model = scaled(LogisticRegression(max_iter=1000, class_weight=weight))
            expected = model.fit(X[train], y[train, label]).predict_proba(X[test])[:, 1]
            np.testing.assert_allclose(fold.y_score[:, label], expected, rtol=1e-6)


def test_settings_for_networks_have_no_effect_and_cause_a_warning(make_config):
    plain, _ = run(make_config(*SMALL, *FOREST))
    ignored = ("training.early_stopping.patience=3", "training.loss=focal", "training.epochs=2")
    other, evaluator = run(make_config(*SMALL, *FOREST, *ignored))
    for one, two in zip(plain.folds, other.folds, strict=True):
        np.testing.assert_array_equal(one.y_score, two.y_score)
    assert evaluator.warnings == [
        f"{key} has no effect on RandomForestClassifier"
        for key in ("training.early_stopping", "training.loss=focal")
    ]


def test_warnings_of_estimators_are_counted_and_reported_once(make_config):
    _, evaluator = run(make_config(*SMALL, "model=logistic", "model.params.max_iter=1"))
    (warning,) = evaluator.warnings
    assert warning.startswith("LogisticRegression, 4 of 4 fits: ConvergenceWarning: lbfgs")
    assert "\n" not in warning


class OwnEstimator(ClassifierMixin, BaseEstimator):
    """The user's own estimator; other processes import it from the working directory."""

    def fit(self, X, y):
        self.classes_, self.frequency_ = np.unique(y), float(np.mean(y))
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.frequency_, self.frequency_], (len(X), 1))


OWN_MODEL = ("model=sklearn", "model.estimator=tests.test_sklearn_trainer.OwnEstimator")


@pytest.mark.parametrize("model", [FOREST, OWN_MODEL])
def test_several_processes_give_the_results_of_one(make_config, monkeypatch, model):
    options = (*SMALL, *model, "report.importance=true", "report.importance_repeats=1")
    single, _ = run(make_config(*options, "training.n_threads=1"))
    monkeypatch.setattr(sklearn_trainer, "START_SECONDS", -1.0)
    parallel, _ = run(make_config(*options, "training.n_threads=2"))
    for one, two in zip(single.folds, parallel.folds, strict=True):
        np.testing.assert_array_equal(one.y_score, two.y_score)
        np.testing.assert_array_equal(one.importance, two.importance)
    y_scores = [it.final.model.predict_proba(single.dataset.X) for it in (single, parallel)]
    np.testing.assert_array_equal(*y_scores)


def test_progress_counts_fits_and_training_can_be_stopped(make_config):
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


def refusing(name, *params):
    path = f"tests.test_sklearn_trainer.{name}" if name[0].isupper() else f"sklearn.{name}"
    return ("model=sklearn", f"model.estimator={path}", *params)


REFUSED = {
    refusing("naive_bayes.MultinomialNB"): "ValueError: Negative values in data passed to Multi",
    refusing("neighbors.RadiusNeighborsClassifier", "model.params={radius: 1e-9}"): "No neighbors",
    refusing("linear_model.LogisticRegression", "model.params={solver: lbfgs, l1_ratio: 1.0}"): (
        "ValueError: Solver lbfgs supports only 'l2'"
    ),
    refusing("naive_bayes.MultinomialNB", "model.strategy=classifier_chain"): "Negative values",
    refusing("NanEstimator"): "predict_proba returned NaN",
}


@pytest.mark.parametrize("model", REFUSED, ids=lambda model: model[1].rpartition(".")[2])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_refusal_of_an_estimator_is_one_sentence(make_config, monkeypatch, model, n_threads):
    monkeypatch.setattr(sklearn_trainer, "START_SECONDS", 0.0)
    with pytest.raises(UserError) as caught:
        run(make_config(*SMALL, *model, f"training.n_threads={n_threads}"))
    message = str(caught.value)
    assert message.startswith(f"model.estimator: {model[1].partition('=')[2]} cannot learn label ")
    assert "'y0' and 2 more in repeat 0, fold 0: " in message
    assert REFUSED[model] in message
    assert "\n" not in message


class NanEstimator(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.n_, self.classes_ = len(X), np.unique(y)
        return self

    def predict_proba(self, X):
        if self.n_ == len(X):  # the trial before training
            return np.full((len(X), 2), 0.5)
        return np.full((len(X), 2), np.nan)


class WideEstimator(NanEstimator):
    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5 if self.n_ == len(X) else -2.0)


def test_scores_outside_of_probabilities_are_refused(make_config):
    expected = r"in \[0, 1\]\. Received: from -2 to -2 for label 'y0' in repeat 0, fold 0"
    with pytest.raises(UserError, match=expected):
        run(make_config(*SMALL, *refusing("WideEstimator")))


@pytest.mark.parametrize("strategy", ["binary_relevance", "classifier_chain"])
def test_the_frequency_of_a_label_that_cannot_be_learnt_is_predicted(make_config, strategy):
    """Early stopping needs two rows of each value; the label 'y1' has one in most folds."""
    config = make_config(
        *(*SMALL, "model=hist_gradient_boosting", "model.params.max_iter=2"),
        *("model.params.early_stopping=true", f"model.strategy={strategy}"),
    )
    dataset = load(config.dataset)
    dataset.y[:, 1] = 0
    dataset.y[7, 1] = 1
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    evaluation = evaluator.evaluation()
    for fold in evaluation.folds:
        frequency = dataset.y[fold.split.train, 1].mean()
        np.testing.assert_allclose(fold.y_score[:, 1], frequency, rtol=1e-6)
        assert np.ptp(fold.y_score[:, 0]) > 0
    (warning,) = evaluation.warnings
    assert "cannot learn label 'y1' in 3 of 4 fits, such as repeat 0, fold" in warning
    assert "The least populated class" in warning
    assert warning.endswith("Its frequency in the training rows is predicted there")
    texts = format_warnings(evaluation, ())
    assert f"{warning}." in texts


def test_a_forest_of_all_labels_becomes_one_per_label_where_labels_are_missing(make_config):
    small = ("model=random_forest", "model.params.n_estimators=3", "cv.n_splits=2")
    configs = [make_config(*small, *it) for it in ((), ("model.strategy=binary_relevance",))]
    dataset = load(configs[0].dataset)
    mask = np.random.default_rng(0).random(dataset.y.shape) < 0.8
    dataset = replace(dataset, y=dataset.y * mask, label_mask=mask)
    fits, *_ = plan_fits(configs[0], dataset, make_splits(configs[0].cv, dataset))
    trainers = [make_trainer(config, dataset, fits) for config in configs]
    native, divided = (next(trainer.train(fit_indices=[0])).y_score for trainer in trainers)
    np.testing.assert_array_equal(native, divided)
    assert [len(trainer.warnings) for trainer in trainers] == [1, 0]
    assert "one estimator per label instead of one of all labels" in trainers[0].warnings[0]
