"""The runner against a naive loop over scikit-learn's splitter, `model.fit` and metrics."""

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, hamming_loss
from sklearn.model_selection import RepeatedKFold
from sklearn.preprocessing import StandardScaler

from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluator
from pipeline.model.keras_models import mlp
from pipeline.training.base import fit_seed
from pipeline.training.stack import epoch_order

SMALL = (
    "dataset.n_samples=70",
    "dataset.n_features=6",
    "cv.n_splits=3",
    "cv.n_repeats=2",
    "training.epochs=4",
    "training.learning_rate=0.02",
)


def run(config):
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


def naive(config, train):
    """Train as the tutorial does, from the same start and in the same order of rows."""
    dataset = load(config.dataset)
    scaler = StandardScaler().fit(dataset.X[train])
    x = scaler.transform(dataset.X)

    def fit(seed):
        keras.utils.set_random_seed(seed)
        model = mlp(6, 3)
        optimizer = keras.optimizers.Adam(0.02)
        model.compile(optimizer, loss="binary_crossentropy", run_eagerly=True)
        for epoch in range(4):
            order = epoch_order(seed, epoch, train)
            model.fit(x[order], dataset.y[order], batch_size=32, shuffle=False, verbose=0)
        return model.predict(x, verbose=0)

    return fit, dataset


def test_a_naive_loop_finds_the_same(make_config):
    config = make_config(*SMALL, "preprocessing=standard")
    evaluation = run(config)
    splitter = RepeatedKFold(n_splits=3, n_repeats=2, random_state=1)
    accuracies = []
    for place, (train, test) in enumerate(splitter.split(np.zeros(70))):
        fit, dataset = naive(config, train)
        y_score = fit(fit_seed(config.seed, divmod(place, 3)))[test]
        fold = evaluation.folds[place]
        np.testing.assert_allclose(fold.y_score, y_score, atol=1e-4)
        y_pred = y_score.round().astype(int)
        assert fold.scores["accuracy"] == pytest.approx(accuracy_score(dataset.y[test], y_pred))
        assert fold.scores["hamming_loss"] == pytest.approx(hamming_loss(dataset.y[test], y_pred))
        accuracies.append(fold.scores["accuracy"])
    assert evaluation.summary["accuracy"].mean == pytest.approx(np.mean(accuracies))
    assert evaluation.summary["accuracy"].std == pytest.approx(np.std(accuracies))

    fit, dataset = naive(config, np.arange(70))
    ours = evaluation.final.model(evaluation.final.preprocessor.transform(dataset.X)).numpy()
    np.testing.assert_allclose(ours, fit(fit_seed(config.seed, "final")), atol=1e-4)


def test_the_headline_comes_first(make_config):
    evaluation = run(make_config(*SMALL, "scoring.metrics=[f1_micro,accuracy]"))
    assert list(evaluation.summary) == ["f1_micro", "accuracy"]


def test_an_unknown_activation_is_refused(make_config):
    config = make_config(*SMALL, "model.activation=rellu")
    with pytest.raises(UserError, match=r"unknown name 'rellu'. Did you mean 'relu'\?"):
        run(config)


def logits(n_features, n_labels):
    return keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(n_labels)])


def narrow(n_features, n_labels, units):
    return keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(units, "sigmoid")])


def shifted(n_features, n_labels):
    inputs = keras.Input((n_features,))
    two = keras.initializers.Constant(2)
    return keras.Model(inputs, keras.layers.Dense(n_labels, bias_initializer=two)(inputs))


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [
        ("no_such_module.build", "null", "No module named 'no_such_module'"),
        ("tests.test_runner.no_such", "null", "has no attribute 'no_such'"),
        ("tests.test_runner.SMALL", "null", "expected a callable. Received: .* a tuple"),
        ("tests.test_runner.narrow", "{units: 2}", r"outputs of shape \(batch, 3\).*\(batch, 2\)"),
        ("tests.test_runner.narrow", "null", "TypeError: .*missing 1 required .*'units'"),
        ("tests.test_runner.shifted", "null", "probabilities in .*from 2 to 2 for a row of zeros"),
        ("builtins.dict", "null", r"a keras\.Model\. Received: dict"),
    ],
)
def test_unfit_callables_are_refused(make_config, path, params, expected):
    config = make_config(*SMALL, "model=keras", f"model.builder={path}", f"model.params={params}")
    with pytest.raises(UserError, match=expected):
        run(config)


class Unregistered(keras.layers.Layer):
    def call(self, x):
        return x


def unsavable(n_features, n_labels):
    inputs = keras.Input((n_features,))
    return keras.Model(inputs, keras.layers.Dense(n_labels, "sigmoid")(Unregistered()(inputs)))


def test_a_model_that_could_not_be_kept_is_refused_before_training(make_config):
    config = make_config(*SMALL, "model=keras", "model.builder=tests.test_runner.unsavable")
    with pytest.raises(UserError, match=r"can save and load\. Received: TypeError"):
        run(config)


def test_a_callable_of_the_users_own_is_trained(make_config):
    own = ("model=keras", "model.builder=tests.test_runner.narrow", "model.params={units: 3}")
    evaluation = run(make_config(*SMALL, *own))
    assert len(evaluation.folds) == 6
    assert all(np.diff(fold.loss)[-1] < 0 for fold in evaluation.folds)


@pytest.mark.parametrize("n_finished", [1, 4, 6])
def test_finished_folds_are_not_trained_again_and_the_rest_is_as_it_would_have_been(
    make_config, n_finished
):
    config = make_config(*SMALL, "training.fits_per_program=2")
    whole = run(config)
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    finished = whole.folds[::-1][:n_finished]
    folds = list(evaluator.folds(lambda n: None, finished))
    assert set(finished) <= set(folds)
    again = evaluator.evaluation()
    assert again.summary == whole.summary
    for fold, same in zip(whole.folds, again.folds, strict=True):
        np.testing.assert_array_equal(fold.y_score, same.y_score)
    models = whole.final.model, again.final.model
    weights = zip(*(model.get_weights() for model in models), strict=True)
    assert all((one == other).all() for one, other in weights)
