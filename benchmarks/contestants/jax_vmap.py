"""JAX: the fits mapped with `vmap` in one compiled program, or in smaller ones in two threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.works import Data, Work, initial_weights, make_batches

N_THREADS = 2
BETA_1, BETA_2, EPSILON, LEARNING_RATE = 0.9, 0.999, 1e-7, 1e-3  # Keras's defaults of Adam


class Contestant:
    """Programs of equal size, each a scan over all steps of its fits."""

    def __init__(self, work: Work, data: Data, size: str) -> None:
        """Keep the table; `size` is the number of fits in a program: all, half, or a number."""
        self._work, self._data, self._X = work, data, data.dense
        sizes = {"all": work.n_fits, "half": -(-work.n_fits // 2)}
        self._size = sizes.get(size) or int(size)
        self._tests = [data.rows(fit)[1] for fit in range(work.n_fits)]
        self._n_test = max(map(len, self._tests))
        self._weights: list[Any] = []
        self._programs: dict[int, Any] = {}

    def prepare(self) -> None:
        """Compile a program of each size, and draw the initial weights."""
        work = self._work
        self._table = jnp.asarray(self._X), jnp.asarray(self._data.y)
        self._weights = [initial_weights(work, fit) for fit in range(work.n_fits)]
        program = jax.jit(jax.vmap(self._fit, in_axes=(0, 0, 0, 0, None, None)))
        groups = {len(group): group for group in self._groups(range(work.n_fits))}
        self._programs = {
            n_fits: program.lower(*self._arguments(group), *self._table).compile()
            for n_fits, group in groups.items()
        }

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        with ThreadPoolExecutor(N_THREADS) as executor:
            groups = self._groups(fits)
            scores = [it for stack in executor.map(self._train_group, groups) for it in stack]
        return [it[: len(self._tests[fit])] for fit, it in zip(fits, scores, strict=True)]

    def _groups(self, fits: Sequence[int]) -> list[Sequence[int]]:
        return [fits[start : start + self._size] for start in range(0, len(fits), self._size)]

    def _train_group(self, group: Sequence[int]) -> NDArray[np.floating]:
        return np.asarray(self._programs[len(group)](*self._arguments(group), *self._table))

    def _arguments(self, group: Sequence[int]) -> tuple[Any, ...]:
        trains = [self._data.rows(fit)[0] for fit in group]
        rows, weights = make_batches(self._work, trains, seed=group[0])
        tests = np.stack([np.resize(self._tests[fit], self._n_test) for fit in group])
        layers = jax.tree.map(lambda *them: np.stack(them), *(self._weights[it] for it in group))
        return layers, rows, weights, tests.astype(np.int32)

    def _fit(
        self, layers: Any, rows: jax.Array, weights: jax.Array, test: jax.Array, X: Any, y: Any
    ) -> jax.Array:
        def loss(layers: Any, rows: jax.Array, weights: jax.Array) -> jax.Array:
            z, labels = _logits(layers, X[rows]), y[rows]
            losses = jnp.maximum(z, 0) - z * labels + jnp.log1p(jnp.exp(-jnp.abs(z)))
            return (losses.mean(axis=1) * weights).sum() / jnp.maximum(weights.sum(), 1)

        def step(state: Any, batch: Any) -> tuple[Any, None]:
            layers, first, second, n = state
            n += 1
            gradient = jax.grad(loss)(layers, *batch)
            first = jax.tree.map(lambda m, g: m + (1 - BETA_1) * (g - m), first, gradient)
            second = jax.tree.map(lambda v, g: v + (1 - BETA_2) * (g * g - v), second, gradient)
            rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**n) / (1 - BETA_1**n)
            layers = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), layers, first, second
            )
            return (layers, first, second, n), None

        def epoch(state: Any, rows: jax.Array) -> tuple[Any, None]:
            state, _ = jax.lax.scan(step, state, (rows, weights))
            return state, None

        zeros = jax.tree.map(jnp.zeros_like, layers)
        state, _ = jax.lax.scan(epoch, (layers, zeros, zeros, jnp.float32(0)), rows)
        return jax.nn.sigmoid(_logits(state[0], X[test]))


def _logits(layers: Any, x: jax.Array) -> jax.Array:
    for kernel, bias in layers[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = layers[-1]
    return x @ kernel + bias
