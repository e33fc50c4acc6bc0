"""Build Keras models, and draw their initial weights."""

import random
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from pipeline.config import (
    BoostingConfig,
    KerasModelConfig,
    MlpPlrConfig,
    ModelConfig,
    SklearnModelConfig,
)
from pipeline.errors import UserError, suggest
from pipeline.model.keras_builder import call_builder
from pipeline.model.tabular_networks import mlp_plr, resnet, tabm


def build_model(
    config: ModelConfig, n_features: int, n_labels: int, n_numeric: int | None = None
) -> keras.Model:
    """Build an untrained model that maps (batch, n_features) to (batch, n_labels) probabilities.

    Args:
        config: Kind of the model and its parameters.
        n_features: Number of input columns.
        n_labels: Number of outputs.
        n_numeric: Number of numbers, which are the first input columns; None for all.

    Raises:
        UserError: If Keras does not know a configured name, if the user's builder cannot be
            imported or raises, or if it returns something else than such a model.
    """
    if isinstance(config, KerasModelConfig):
        return call_builder(config, n_features, n_labels)
    if isinstance(config, SklearnModelConfig | BoostingConfig):
        raise TypeError(f"Expected the configuration of a Keras model. Received: {config.kind}")
    params = asdict(config)
    del params["kind"], params["ensemble_size"]
    if isinstance(config, MlpPlrConfig):
        params["n_numeric"] = n_features if n_numeric is None else n_numeric
    return BUILDERS[config.kind](n_features, n_labels, **params)


def mlp(
    n_features: int,
    n_labels: int,
    *,
    hidden_units: Sequence[int] = (20,),
    activation: str = "relu",
    kernel_initializer: str = "he_uniform",
    dropout: float = 0.0,
    batch_normalization: bool = False,
    l2: float = 0.0,
) -> keras.Model:
    """Build an untrained multi-layer perceptron with one sigmoid output per label.

    Args:
        n_features: Number of input columns.
        n_labels: Number of outputs.
        hidden_units: Units of each hidden layer; empty for logistic regression.
        activation: Keras activation of the hidden layers.
        kernel_initializer: Keras initializer of the hidden kernels; the output layer has Keras's
            default.
        dropout: Fraction of each hidden layer's outputs that is dropped in training, in [0, 1).
        batch_normalization: Whether to normalise each hidden layer before its activation.
        l2: Weight of the L2 penalty on all kernels.

    Raises:
        UserError: If Keras has no such activation or initializer.
    """
    _check_params("activation", activation, keras.activations)
    _check_params("kernel_initializer", kernel_initializer, keras.initializers)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    model_layers: list[keras.layers.Layer] = [keras.Input((n_features,))]
    for units in hidden_units:
        model_layers.append(
            layers.Dense(
                units,
                use_bias=not batch_normalization,  # which adds an offset itself
                kernel_initializer=kernel_initializer,
                kernel_regularizer=regularizer,
            )
        )
        if batch_normalization:
            model_layers.append(layers.BatchNormalization())
        model_layers.append(layers.Activation(activation))
        if dropout:
            model_layers.append(layers.Dropout(dropout))
    model_layers.append(
        layers.Dense(n_labels, activation="sigmoid", kernel_regularizer=regularizer)
    )
    return keras.Sequential(model_layers)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "mlp": mlp,
    "resnet": resnet,
    "mlp_plr": mlp_plr,
    "tabm": tabm,
}


@cache  # because every fold builds the model
def _check_params(key: str, name: str, module: object) -> None:
    """Raise UserError unless a Keras activation or initializer of this name can be used."""
    state = random.getstate()  # restored below: initializers draw a seed from it
    try:
        function = module.get(name)  # type: ignore[attr-defined]
        x = np.zeros((2, 4), dtype=np.float32)
        output = function(x) if key == "activation" else function(x.shape)
        if output.shape != x.shape:
            raise ValueError(f"it changes shapes: {x.shape} became {tuple(output.shape)}")
    except Exception as error:
        available = [
            item
            for item in dir(module)
            if item.islower()
            and not item.startswith("_")
            and item not in {"get", "serialize", "deserialize"}
        ]
        if name not in available:
            raise UserError(
                f"model.{key}: unknown name {name!r}. {suggest(name, available)}"
            ) from error
        raise UserError(
            f"model.{key}: expected one without required arguments. Received: {name!r} "
            f"({str(error).strip().splitlines()[0][:200]})"
        ) from error
    finally:
        random.setstate(state)


Weights = list[NDArray[np.generic]]
_DrawAll = Callable[[tf.Tensor], list[tf.Tensor]]
MAX_SEEDS = 10_000  # that one model may draw
TEMPLATE_SEEDS = (1, 2)


class WeightInitializer:
    """Draws the initial weights of a model from explicit seeds, without building it again.

    Keras gives each initializer and each dropout layer without a seed the next number of Python's
    global generator. This class finds out which number each weight of a model depends on, and
    computes the numbers itself. The weights are those of a model that is built after
    `keras.utils.set_random_seed(seed)`, but nothing else in the process can disturb them.

    Attributes:
        is_explicit: Whether that is possible. If not, as with random numbers of NumPy in a user's
            builder, the model is built for each seed.
    """

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        """Build the model for one seed, to learn what its weights depend on, and check another."""
        self._build = build
        model, other = (_build_with_seed(build, seed) for seed in TEMPLATE_SEEDS)
        self._n_trainable = len(model.trainable_variables)
        self._values, expected = _weights(model), _weights(other)
        sources = list(_random_sources(model, _seed_stream(TEMPLATE_SEEDS[0], MAX_SEEDS)))
        self._draws = [
            None
            if np.array_equal(value, value_of_other)  # a constant, such as zeros
            else next((draw for draw in sources if draw.is_source(value)), None)
            for value, value_of_other in zip(self._values, expected, strict=True)
        ]
        self.is_explicit = all(map(np.array_equal, self._draw(TEMPLATE_SEEDS[1]), expected))

    def __call__(self, seed: int) -> tuple[Weights, Weights]:
        """Return the trainable and the non-trainable weights before the first step."""
        explicit = self.is_explicit
        weights = self._draw(seed, self._traced) if explicit else self._build_weights(seed)
        return weights[: self._n_trainable], weights[self._n_trainable :]

    def _draw(self, seed: int, draw_all: _DrawAll | None = None) -> Weights:
        seeds = _seed_stream(seed, self._n_seeds)
        pairs = tf.constant([(number, 0) for number in seeds], tf.int64, (len(seeds), 2))
        sampled = iter((draw_all or self._draw_all)(pairs if draw_all else seeds))
        return [
            np.asarray(next(sampled)) if draw else value
            for draw, value in zip(self._draws, self._values, strict=True)
        ]

    @property
    def _n_seeds(self) -> int:
        return max((draw.position + 1 for draw in self._draws if draw), default=0)

    def _draw_all(self, seeds: "Sequence[int] | tf.Tensor") -> list[Any]:
        """Draw the weights that depend on the seeds, be they numbers or inputs of a graph."""
        return [
            draw(value, seeds[draw.position])
            for draw, value in zip(self._draws, self._values, strict=True)
            if draw
        ]

    @cached_property
    def _traced(self) -> _DrawAll | None:
        """The drawing as one graph, which takes a third of the time; None if it differs there."""
        signature = [tf.TensorSpec((self._n_seeds, 2), tf.int64)]
        try:
            traced = tf.function(self._draw_all, input_signature=signature).get_concrete_function()
        except Exception:  # an initializer of the user may do anything
            return None
        weights = self._draw(TEMPLATE_SEEDS[1], traced)
        is_equal = all(map(np.array_equal, weights, self._draw(TEMPLATE_SEEDS[1])))
        return traced if is_equal else None

    def _build_weights(self, seed: int) -> Weights:
        return _weights(_build_with_seed(self._build, seed))


@dataclass(frozen=True)
class _Draw:
    """A weight by its initializer (None for the state of a seed generator) and its seed.

    Attributes:
        initializer: The initializer.
        position: Position of the seed among those that the model draws.
        seed: The seed.
    """

    initializer: keras.initializers.Initializer | None
    position: int
    seed: int

    def __call__(self, like: NDArray[np.generic], seed: "int | tf.Tensor") -> Any:
        """Return the weight for a seed, with the shape and the type of another.

        In a graph, the seed is a pair of numbers, of which the second is 0.
        """
        is_input = isinstance(seed, tf.Tensor)
        if self.initializer is None:
            pair = seed if is_input else (seed, 0)
            return tf.broadcast_to(tf.cast(pair, like.dtype), like.shape)
        initializer = copy(self.initializer)
        initializer.seed = _InputSeed(seed) if is_input else seed
        return initializer(like.shape, str(like.dtype))

    def is_source(self, weight: NDArray[np.generic]) -> bool:
        """Return whether a weight was drawn so."""
        if (self.initializer is None) == np.issubdtype(weight.dtype, np.floating):
            return False
        try:
            return np.array_equal(self(weight, self.seed), weight)
        except ValueError:  # some initializers are for matrices alone
            return False


class _InputSeed(keras.random.SeedGenerator):  # type: ignore[misc]
    """A seed that is an input of a graph; Keras takes numbers and generators alone."""

    def __init__(self, seed: tf.Tensor) -> None:
        self._input = seed

    def next(self, ordered: bool = True) -> tf.Tensor:
        return self._input


def _random_sources(model: keras.Model, seeds: Sequence[int]) -> Iterator[_Draw]:
    """Yield the initializers and seed generators of a model whose seeds are in the stream."""
    positions = {seed: position for position, seed in enumerate(seeds)}
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            seed = getattr(value, "seed", None)
            is_initializer = isinstance(value, keras.initializers.Initializer)
            if is_initializer and isinstance(seed, int) and seed in positions:
                yield _Draw(value, positions[seed], seed)
            elif isinstance(value, keras.random.SeedGenerator):
                seed = int(np.asarray(value.state)[0])
                if seed in positions:
                    yield _Draw(None, positions[seed], seed)


def _seed_stream(seed: int, n: int) -> list[int]:
    """Return the first numbers that Keras draws as seeds after `set_random_seed(seed)`."""
    generator = random.Random(seed)
    return [generator.randint(1, 10**9) for _ in range(n)]


def _build_with_seed(build: Callable[[], keras.Model], seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build()


def _weights(model: keras.Model) -> Weights:
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    return [np.asarray(variable) for variable in variables]
