"""Own Keras models: what they must return is checked on zeros, random rows and training rows."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import UserError
from pipeline.model import keras_builder
from pipeline.model.keras_builder import call_builder, check_model, describe_compilation
from pipeline.model.keras_models import mlp
from tests.test_evaluator import SMALL, make_evaluator

N_FEATURES, N_LABELS = 4, 3
ROWS = np.random.default_rng(0).normal(size=(40, N_FEATURES)).astype(np.float32)


def head(n_features, n_labels, activation=None, **options):
    """Return a model of one dense layer."""
    dense = layers.Dense(n_labels, activation=activation, **options)
    return keras.Sequential([keras.Input((n_features,)), dense])


def after_sigmoid(*more):
    def build(n_features, n_labels):
        x = inputs = keras.Input((n_features,))
        for layer in (layers.Dense(n_labels, "sigmoid"), *more):
            x = layer(x)
        return keras.Model(inputs, x)

    return build


def ignoring_input(value):
    def build(n_features, n_labels):
        inputs = keras.Input((n_features,))
        bias = keras.initializers.Constant(value)
        zeros = layers.Rescaling(0.0)(inputs)
        return keras.Model(inputs, layers.Dense(n_labels, bias_initializer=bias)(zeros))

    return build


def embedding(n_features, n_labels, activation="sigmoid"):
    """Return a model of codes from 0 to 9; the linear one leaves [0, 1] for 9 alone."""
    x = inputs = keras.Input((n_features,))
    for layer in (layers.Embedding(10, 1), layers.Flatten(), layers.Dense(n_labels, activation)):
        x = layer(x)
    model = keras.Model(inputs, x)
    codes = np.full(10, 0.5)
    codes[9] = 5
    shape = (n_features, n_labels)
    model.set_weights([codes[:, None], np.full(shape, 1 / n_features), np.zeros(n_labels)])
    return model


@pytest.fixture
def check(make_config, monkeypatch):
    """Check a builder as the trainer does."""
    config = make_config("model=keras", "model.builder=my_module.build").model

    def run(build, rows=ROWS):
        monkeypatch.setattr(
            keras_builder, "import_callable", lambda *args: lambda **sizes: build(*sizes.values())
        )
        keras.utils.set_random_seed(0)
        check_model(config, call_builder(config, N_FEATURES, N_LABELS), rows)

    return run


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "hard_sigmoid"])
def test_activations_between_0_and_1_are_accepted(check, activation):
    check(lambda *sizes: head(*sizes, activation))


@pytest.mark.parametrize(
    "activation", [None, "relu", "tanh", "softplus", "elu", "exponential", "gelu", "log_sigmoid"]
)
@pytest.mark.parametrize("initializer", ["glorot_uniform", "zeros"])
def test_other_activations_are_refused(check, activation, initializer):
    with pytest.raises(UserError, match=r"probabilities in \[0, 1\].* Received: outputs from"):
        check(lambda *sizes: head(*sizes, activation, kernel_initializer=initializer))


@pytest.mark.parametrize(
    "build",
    [after_sigmoid(layers.Rescaling(100)), after_sigmoid(layers.Rescaling(2, -1)),
     after_sigmoid(layers.LayerNormalization()), ignoring_input(3), ignoring_input(-0.5)],
)  # fmt: skip
def test_outputs_on_another_scale_are_refused(check, build):
    with pytest.raises(UserError, match=r"Give the last layer activation='sigmoid'"):
        check(build)


def test_what_only_training_rows_reach_is_refused(check):
    with pytest.raises(UserError, match="outputs from 5 to 5 for training rows"):
        check(lambda *sizes: embedding(*sizes, None), np.full((8, N_FEATURES), 9, np.float32))


def test_layers_for_codes_of_categories_are_not_probed_with_other_numbers(check):
    check(embedding, np.arange(8 * N_FEATURES, dtype=np.float32).reshape(8, -1) % 10)


def heads(kind):
    def build(n_features, n_labels):
        inputs = keras.Input((n_features,))
        outputs = [layers.Dense(1 + i, "sigmoid")(inputs) for i in range(n_labels)]
        named = {f"y{i}": output for i, output in enumerate(outputs)}
        return keras.Model(inputs, named if kind == "dict" else outputs)

    return build


def two_inputs(n_features, n_labels):
    inputs = [keras.Input((n_features,)), keras.Input((2,))]
    return keras.Model(inputs, layers.Dense(n_labels, "sigmoid")(layers.Concatenate()(inputs)))


UNSUITABLE = {
    r"a list of 3 outputs \(0: \(batch, 1\), 1: \(batch, 2\).*Concatenate": heads("list"),
    r"a dict of 3 outputs \(y0: \(batch, 1\), y1: \(batch, 2\)": heads("dict"),
    r"outputs of shape \(batch, 3\).*Received: \(batch, 3, 1\)": after_sigmoid(
        layers.Reshape((3, 1))
    ),
    r"Received: \(batch, 1\)": lambda *sizes: head(4, 1, "sigmoid"),
    r"Received: 2 inputs of shapes \(batch, 4\), \(batch, 2\)": two_inputs,
    r"one input of shape \(batch, 4\), the features. Received: ValueError": lambda *sizes: head(
        7, 3, "sigmoid"
    ),
    r"a keras.Model. Received: list": lambda *sizes: [],
}


@pytest.mark.parametrize("message", UNSUITABLE)
def test_models_of_other_shapes_are_refused_in_words(check, message):
    with pytest.raises(UserError, match=message) as caught:
        check(UNSUITABLE[message])
    assert "\n" not in str(caught.value)


def of_type(dtype):
    def build(n_features, n_labels):
        return head(n_features, n_labels, "sigmoid", dtype=dtype)

    return build


def frozen(n_features, n_labels):
    model = head(n_features, n_labels, "sigmoid")
    model.trainable = False
    return model


def named_input(n_features, n_labels):
    x = keras.Input((n_features,), name="x")
    return keras.Model({"x": x}, keras.layers.Dense(n_labels, activation="sigmoid")(x))


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(
    ("build", "received"),
    [
        (of_type("float64"), "type float64. Give the last layer dtype='float32'"),
        (of_type("mixed_float16"), "type float16"),
        (frozen, "no trainable weights"),
        (named_input, "a dict of inputs"),
    ],
)
def test_models_that_cannot_be_trained_are_refused(check, build, received):
    with pytest.raises(UserError, match=received):
        check(build)


def compiled(n_features, n_labels):
    model = mlp(n_features, n_labels, hidden_units=())
    model.compile("sgd", "mse")
    return model


def test_it_is_said_that_settings_of_compile_have_no_effect(make_config):
    builder = ("model=keras", "model.builder=tests.test_keras_builder.compiled")
    warnings = make_evaluator(make_config(*SMALL, *builder)).warnings
    assert warnings == [
        "tests.test_keras_builder.compiled compiles its model (optimizer SGD, loss mse), which has "
        "no effect: training.optimizer=adam, training.learning_rate=0.02 and "
        "training.loss=binary_crossentropy apply"
    ]
    assert not make_evaluator(make_config(*SMALL)).warnings
    config = make_config(*builder)
    keras_loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = mlp(4, 3)
    model.compile("adam", loss=keras_loss, metrics=["accuracy"])
    (text,) = describe_compilation(config.model, model, config.training)
    assert "loss BinaryCrossentropy" in text
