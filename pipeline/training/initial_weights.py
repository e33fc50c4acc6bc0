"""Draw the initial weights of Keras models."""

import random
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.training.compiled_function import CompiledFunction

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
        model: The model that was built for the first of `TEMPLATE_SEEDS`.
        is_explicit: Whether that is possible. If not, as with random numbers of NumPy in a user's
            builder, the model is built for each seed.
    """

    def __init__(self, build: Callable[[], keras.Model], key: str | None = None) -> None:
        """Build the model for one seed, to learn what its weights depend on.

        A second seed shows whether that was all, unless the model is Manyfold's own and each weight
        is either drawn by a layer or filled with one number.

        Args:
            build: Builds the model.
            key: Identifies a model of Manyfold in all processes; None for another.
        """
        self._build, self._key = build, key
        self.model = _build_with_seed(build, TEMPLATE_SEEDS[0])
        self._n_trainable = len(self.model.trainable_variables)
        self._values = _weights(self.model)
        sources = list(_random_sources(self.model, _seed_stream(TEMPLATE_SEEDS[0], MAX_SEEDS)))
        is_constant = [
            (it == it.flat[:1]).all() and (it.size != 1 or it.item() in (0, 1))
            for it in self._values
        ]
        self._draws = [
            next((draw for draw in sources if draw.is_source(value)), None) if value.any() else None
            for value in self._values
        ]
        self._expected = {TEMPLATE_SEEDS[0]: self._values}
        # An orthogonal matrix of one value is 1 or -1: it looks constant, and is drawn.
        self.is_explicit = key is not None and all(
            (draw is None) == constant
            for draw, constant in zip(self._draws, is_constant, strict=True)
        )
        if not self.is_explicit:
            self._expected[TEMPLATE_SEEDS[1]] = self._build_weights(TEMPLATE_SEEDS[1])
            self.is_explicit = self._is_right(None)

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
        traced = CompiledFunction(
            self._draw_all,
            lambda _: [0] * sum(map(bool, self._draws)),
            self._key and f"draw {self._key}",
            with_xla=False,
        )
        try:
            traced.trace(tf.zeros((self._n_seeds, 2), tf.int64))
        except Exception:  # an initializer of the user may do anything
            return None
        return traced if self._is_right(traced) else None

    def _is_right(self, draw_all: _DrawAll | None) -> bool:
        """Return whether the drawn weights are those of the models that were built."""
        return all(
            all(map(np.array_equal, self._draw(seed, draw_all), weights))
            for seed, weights in self._expected.items()
        )

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
