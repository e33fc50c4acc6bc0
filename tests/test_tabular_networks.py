"""Networks of the papers: against plain Keras loops, formulas in NumPy, and after saving."""

import json
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

from pipeline.model.keras_models import build_model
from pipeline.model.loaded_model import LoadedModel
from pipeline.model.tabm_layers import BatchEnsembleDense
from pipeline.model.tabular_networks import mlp_plr, resnet, tabm
from pipeline.training.initial_weights import WeightInitializer
from tests.keras_reference import (
    N_FEATURES,
    N_LABELS,
    assert_equal_to_model_fit,
    make_fits,
    training_config,
)
from tests.test_export import (
    LABELS,
    PREPROCESSOR,
    SCHEMA,
    assert_onnx_equal,
    network,
    raw_rows,
    write,
)
from tests.test_keras_models import weights_after_seeding

RESNET = {
    "n_blocks": 2, "units": 6, "hidden_units": 8, "hidden_dropout": 0.2, "residual_dropout": 0.1,
}  # fmt: skip
PLR = {
    "n_numeric": N_FEATURES, "hidden_units": (7,), "dropout": 0.2, "n_frequencies": 3,
    "frequency_scale": 0.3, "embedding_size": 2,
}  # fmt: skip
TABM = {"hidden_units": (6, 4), "dropout": 0.2, "n_submodels": 3}
BUILDERS = {
    "resnet": partial(resnet, n_labels=N_LABELS, **RESNET),
    "mlp_plr": partial(mlp_plr, n_labels=N_LABELS, **PLR),
    "tabm": partial(tabm, n_labels=N_LABELS, **TABM),
}
X = np.random.default_rng(5).normal(size=(9, N_FEATURES)).astype(np.float32)


def without_dropout(name):
    """Return a builder with the same initial weights: dropout draws other bits in a program."""
    changes = {
        "resnet": {"hidden_dropout": 0.0, "residual_dropout": 0.0},
        "mlp_plr": {"dropout": 0.0},
        "tabm": {"dropout": 0.0},
    }
    return partial(BUILDERS[name], **changes[name])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def member_losses(y, y_score):
    """Return the mean over members of their losses."""
    if len(y_score.shape) == 2:
        return keras.losses.binary_crossentropy(y, y_score)
    losses = [
        keras.losses.binary_crossentropy(y, y_score[:, member])
        for member in range(y_score.shape[1])
    ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("name", BUILDERS)
def test_folds_equal_a_plain_keras_loop(name):
    """Folds of unequal size: batch normalization must see no padding.

    Its biases have no gradient but noise, which adaptive optimizers would magnify.
    """
    optimizer = "sgd" if name == "resnet" else "adamw"
    config = training_config(optimizer=optimizer, epochs=2)
    make_loss = (lambda fit: member_losses) if name == "tabm" else None
    fits = make_fits((40, 37), scaling="standard")
    assert_equal_to_model_fit(fits, config, without_dropout(name), make_loss=make_loss, atol=3e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_initial_weights_are_those_of_a_model_built_with_the_seed(name):
    build = partial(BUILDERS[name], N_FEATURES)
    initializer = WeightInitializer(build)
    assert initializer.is_explicit
    for seed in (0, 2**32 - 1):
        trainable, non_trainable = initializer(seed)
        for actual, expected in zip(
            [*trainable, *non_trainable], weights_after_seeding(build, seed), strict=True
        ):
            np.testing.assert_array_equal(actual, expected)


def test_parameters_are_as_many_as_the_formulas_say():
    d, n = N_FEATURES, N_LABELS

    def count(name):
        model = BUILDERS[name](d)
        return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)

    block = 2 * 6 + (6 * 8 + 8) + (8 * 6 + 6)
    assert count("resnet") == (d * 6 + 6) + 2 * block + 2 * 6 + (6 * n + n)
    embeddings = d * 3 + d * (2 * 3 * 2 + 2)
    assert count("mlp_plr") == embeddings + (2 * d * 7 + 7) + (7 * n + n)
    k = 3
    first, second = d * 6 + k * (d + 6 + 6), 6 * 4 + k * (6 + 4 + 4)
    assert count("tabm") == first + second + k * (4 * n + n)


def randomize(model):
    """Give every weight a random value, so that none is 0 or 1 by accident."""
    rng = np.random.default_rng(2)
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(rng.uniform(0.2, 1.2, variable.shape) * rng.choice([-1, 1]))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance) + 0.1)
    return model


def test_resnet_is_the_formula_of_the_paper():
    model = randomize(BUILDERS["resnet"](N_FEATURES))
    dense, normalizations = (
        [layer for layer in model.layers if isinstance(layer, kind)]
        for kind in (keras.layers.Dense, keras.layers.BatchNormalization)
    )

    def linear(x):
        kernel, bias = map(np.asarray, dense.pop(0).weights)
        return x @ kernel + bias

    def normalize(x):
        gamma, beta, mean, variance = map(np.asarray, normalizations.pop(0).weights)
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = linear(X)
    for _ in range(2):
        x = x + linear(np.maximum(linear(normalize(x)), 0))
    expected = sigmoid(linear(np.maximum(normalize(x), 0)))
    np.testing.assert_allclose(model(X), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_are_the_formula_of_the_paper_and_categories_stay():
    n_numeric = 3
    build = partial(BUILDERS["mlp_plr"], **{"n_numeric": n_numeric})
    model = randomize(build(N_FEATURES))
    frequencies, kernel, bias, *dense = map(np.asarray, model.trainable_variables)
    assert frequencies.shape == (3, 1, 3)
    columns = []
    for feature in range(n_numeric):
        angles = 2 * np.pi * X[:, [feature]] * frequencies[feature]
        periodic = np.hstack([np.sin(angles), np.cos(angles)])
        columns.append(np.maximum(periodic @ kernel[feature] + bias[feature], 0))
    x = np.hstack([*columns, X[:, n_numeric:]])
    hidden = np.maximum(x @ dense[0] + dense[1], 0)
    np.testing.assert_allclose(model(X), sigmoid(hidden @ dense[2] + dense[3]), rtol=1e-4)
    without_numbers = BUILDERS["mlp_plr"](N_FEATURES, n_numeric=0)
    assert len(without_numbers.trainable_variables) == 4


def test_members_of_tabm_are_perceptrons_and_their_mean_is_predicted():
    model = randomize(BUILDERS["tabm"](N_FEATURES))
    weights = [np.asarray(weight) for weight in model.trainable_variables]
    kernels, biases = weights[8:]
    members = []
    for member in range(3):
        x = X
        for layer in range(2):
            input_scale, kernel, output_scale, bias = weights[4 * layer : 4 * layer + 4]
            # One matrix of the member: the shared one, scaled by rows and by columns.
            matrix = input_scale[member][:, None] * kernel * output_scale[member]
            x = np.maximum(x @ matrix + bias[member], 0)
        members.append(sigmoid(x @ kernels[member] + biases[member]))
    np.testing.assert_allclose(model(X), np.mean(members, axis=0), rtol=1e-4, atol=1e-6)
    trained = randomize(without_dropout("tabm")(N_FEATURES))(X, training=True)
    np.testing.assert_allclose(trained, np.stack(members, axis=1), rtol=1e-4, atol=1e-6)


def test_members_begin_with_random_signs():
    keras.utils.set_random_seed(3)
    first, second = BatchEnsembleDense(4, 8, is_first=True), BatchEnsembleDense(4, 8)
    second(first(X))
    signs = np.asarray(first.input_scale)
    assert set(signs.ravel()) == {-1.0, 1.0}
    assert 0.2 < (signs > 0).mean() < 0.8
    assert (np.asarray(second.input_scale) == 1).all()
    assert np.abs(first.kernel).max() <= N_FEATURES**-0.5


OPTIONS = {
    "resnet": ("model.units=6", "model.hidden_units=8"),
    "mlp_plr": ("model.hidden_units=[6]", "model.n_frequencies=3"),
    "tabm": ("model.hidden_units=[6,4]", "model.n_submodels=3"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_config):
    """Folders of final models, each an ensemble of two, by the name of the model."""
    keras.utils.set_random_seed(1)
    paths = {}
    for name, options in OPTIONS.items():
        config = make_config(f"model={name}", *options).model
        n_numeric = len(PREPROCESSOR.numeric)
        models = [
            build_model(config, PREPROCESSOR.n_columns, len(LABELS), n_numeric) for _ in range(2)
        ]
        paths[name] = write(tmp_path_factory.mktemp(name), network(*models), config)
    return paths


@pytest.mark.parametrize("name", OPTIONS)
def test_onnx_predicts_the_same(folders, tmp_path, name):
    assert_onnx_equal(folders[name], tmp_path / "out")


def test_a_saved_tabm_predicts_the_same_with_the_code_beside_it(folders, tmp_path):
    """It is the only one with layers of its own."""
    folder, X = folders["tabm"], SCHEMA.encode(raw_rows())
    np.save(tmp_path / "X.npy", X)
    code = (
        "import json, sys; from pathlib import Path; import numpy as np;"
        "from pipeline.model.loaded_model import LoadedModel;"
        "model = LoadedModel(Path(sys.argv[1]), is_compiled=False);"
        "print(json.dumps(model.predict_proba(np.load(sys.argv[2])).tolist()))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, folder / "model", tmp_path / "X.npy"],
        cwd=folder / "code", env={"PYTHONPATH": "."}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    expected = LoadedModel(folder / "model").predict_proba(X)
    np.testing.assert_allclose(json.loads(process.stdout), expected, rtol=1e-5)
