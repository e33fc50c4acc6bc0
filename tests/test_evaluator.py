"""`Evaluator` against a plain loop over a splitter of scikit-learn, `model.fit` and metrics."""

import time

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
from pipeline.training.batches import epoch_order

SMALL = (
    "dataset.n_samples=70",
    "dataset.n_features=6",
    "cv.n_splits=3",
    "cv.n_repeats=2",
    "training.epochs=4",
    "training.learning_rate=0.02",
    "training.fits_per_program=2",
    "preprocessing=standard",
)


def make_evaluator(config):
    dataset = load(config.dataset)
    return Evaluator(config, dataset, make_splits(config.cv, dataset))


def evaluate(config):
    evaluator = make_evaluator(config)
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(*SMALL)


@pytest.fixture(scope="module")
def evaluation(config):
    return evaluate(config)


def model_fit(dataset, train, seed):
    """Train on some rows with scikit-learn and Keras; return the probabilities of all rows."""
    x = StandardScaler().fit(dataset.X[train]).transform(dataset.X)
    keras.utils.set_random_seed(seed)
    model = mlp(6, 3)
    optimizer = keras.optimizers.Adam(0.02)
    model.compile(optimizer, loss="binary_crossentropy", run_eagerly=True)
    for epoch in range(4):
        rows = epoch_order(seed, epoch, train)
        model.fit(x[rows], dataset.y[rows], batch_size=32, shuffle=False, verbose=0)
    return model(x).numpy()


def test_an_evaluation_equals_a_plain_loop(config, evaluation):
    dataset = load(config.dataset)
    splitter = RepeatedKFold(n_splits=3, n_repeats=2, random_state=1)
    accuracies = []
    for number, (train, test) in enumerate(splitter.split(np.zeros(70))):
        seed = fit_seed(config.seed, divmod(number, 3))
        y_score = model_fit(dataset, train, seed)[test]
        fold = evaluation.folds[number]
        np.testing.assert_allclose(fold.y_score, y_score, atol=1e-4)
        y_pred = y_score.round().astype(int)
        assert fold.scores["accuracy"] == pytest.approx(accuracy_score(dataset.y[test], y_pred))
        assert fold.scores["hamming_loss"] == pytest.approx(hamming_loss(dataset.y[test], y_pred))
        accuracies.append(fold.scores["accuracy"])
    assert evaluation.summary["accuracy"].mean == pytest.approx(np.mean(accuracies))
    assert evaluation.summary["accuracy"].std == pytest.approx(np.std(accuracies))

    final = evaluation.final
    y_score = final.model(dataset.X).numpy()
    expected = model_fit(dataset, np.arange(70), fit_seed(config.seed, "final"))
    np.testing.assert_allclose(y_score, expected, atol=1e-4)


def test_the_first_metric_of_the_configuration_comes_first(make_config):
    evaluation = evaluate(make_config(*SMALL, "scoring.metrics=[f1_micro,accuracy]"))
    assert list(evaluation.summary) == ["f1_micro", "accuracy"]


def test_an_unknown_activation_is_rejected(make_config):
    with pytest.raises(UserError, match=r"unknown name 'rellu'. Did you mean 'relu'\?"):
        make_evaluator(make_config(*SMALL, "model.activation=rellu"))


def sigmoid_layer(n_features, n_labels, units):
    return keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(units, "sigmoid")])


def outputs_of_two(n_features, n_labels):
    inputs = keras.Input((n_features,))
    bias = keras.initializers.Constant(2)
    return keras.Model(inputs, keras.layers.Dense(n_labels, bias_initializer=bias)(inputs))


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [
        ("missing_module.build", "null", "No module named 'missing_module'"),
        ("tests.test_evaluator.missing", "null", "has no attribute 'missing'"),
        ("tests.test_evaluator.SMALL", "null", "expected a callable. Received: .* a tuple"),
        (
            "tests.test_evaluator.sigmoid_layer",
            "{units: 2}",
            r"outputs of shape \(batch, 3\).*\(batch, 2\)",
        ),
        ("tests.test_evaluator.sigmoid_layer", "null", "TypeError: .*missing 1 required .*'units'"),
        (
            "tests.test_evaluator.outputs_of_two",
            "null",
            "probabilities in .* for training rows",
        ),
        ("builtins.dict", "null", r"a keras\.Model\. Received: dict"),
    ],
)
def test_builders_of_unsuitable_models_are_rejected(make_config, path, params, expected):
    config = make_config(*SMALL, "model=keras", f"model.builder={path}", f"model.params={params}")
    with pytest.raises(UserError, match=expected):
        make_evaluator(config)


class UnregisteredLayer(keras.layers.Layer):
    def call(self, x):
        return x


def model_that_cannot_be_saved(n_features, n_labels):
    inputs = keras.Input((n_features,))
    x = UnregisteredLayer()(inputs)
    return keras.Model(inputs, keras.layers.Dense(n_labels, "sigmoid")(x))


def test_a_model_that_cannot_be_saved_is_rejected_before_training(make_config):
    builder = "model.builder=tests.test_evaluator.model_that_cannot_be_saved"
    with pytest.raises(UserError, match=r"can save and load\. Received: TypeError"):
        make_evaluator(make_config(*SMALL, "model=keras", builder))


def test_the_model_of_a_builder_is_trained(make_config):
    builder = "model.builder=tests.test_evaluator.sigmoid_layer"
    evaluation = evaluate(make_config(*SMALL, "model=keras", builder, "model.params={units: 3}"))
    assert len(evaluation.folds) == 6
    assert all(np.diff(fold.loss)[-1] < 0 for fold in evaluation.folds)


@pytest.mark.parametrize("n_finished", [1, 4, 6])
def test_finished_folds_are_not_trained_again_and_change_no_other_result(
    config, evaluation, n_finished
):
    evaluator = make_evaluator(config)
    finished = evaluation.folds[::-1][:n_finished]
    folds = list(evaluator.folds(lambda n: None, finished))
    assert set(finished) <= set(folds)
    resumed = evaluator.evaluation()
    assert resumed.summary == evaluation.summary
    for fold, expected in zip(resumed.folds, evaluation.folds, strict=True):
        np.testing.assert_array_equal(fold.y_score, expected.y_score)
    models = evaluation.final.model, resumed.final.model
    weights = zip(*(model.get_weights() for model in models), strict=True)
    assert all((one == other).all() for one, other in weights)


def test_no_thread_trains_on_after_a_diverged_fold(make_config):
    one_at_a_time = ("training.fits_per_program=1", "training.n_threads=1")
    diverging = ("training.learning_rate=1e30", "training.optimizer=sgd", "training.epochs=2000")
    config = make_config(*SMALL, *one_at_a_time, *diverging)
    evaluator, epochs = make_evaluator(config), []
    with pytest.raises(UserError, match="diverged") as raised:
        list(evaluator.folds(epochs.append))
    n_done = sum(epochs)
    time.sleep(0.5)
    assert raised.tb  # which keeps the frames of the training
    assert sum(epochs) == n_done < 2000 * 3  # of 6 folds and the final model
