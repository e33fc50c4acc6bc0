"""PyTorch: the gradients of all fits by `torch.func.vmap`, eager."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import grad, vmap

from benchmarks.works import Data, Work, initial_weights, make_batches

BETA_1, BETA_2, EPSILON, LEARNING_RATE = 0.9, 0.999, 1e-7, 1e-3  # Keras's defaults of Adam


class Contestant:
    """All requested fits in one stack."""

    def __init__(self, work: Work, data: Data) -> None:
        """Keep the table."""
        self._work, self._data = work, data
        self._X = torch.from_numpy(np.ascontiguousarray(data.dense))
        self._y = torch.from_numpy(data.y.astype(np.float32))
        self._weights: list[Any] = []

    def prepare(self) -> None:
        """Draw the initial weights; nothing is compiled."""
        self._weights = [initial_weights(self._work, fit) for fit in range(self._work.n_fits)]

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        rows, weights = map(
            torch.from_numpy,
            make_batches(self._work, [self._data.rows(fit)[0] for fit in fits], seed=fits[0]),
        )
        networks = [[it for layer in self._weights[fit] for it in layer] for fit in fits]
        parameters = [torch.from_numpy(np.stack(arrays)) for arrays in zip(*networks, strict=True)]
        first, second = ([torch.zeros_like(it) for it in parameters] for _ in range(2))
        gradients = vmap(grad(_loss))
        for epoch in range(self._work.epochs):
            for step in range(rows.shape[2]):
                batch = rows[:, epoch, step]
                gradient = gradients(parameters, self._X[batch], self._y[batch], weights[:, step])
                n = epoch * rows.shape[2] + step + 1
                rate = LEARNING_RATE * (1 - BETA_2**n) ** 0.5 / (1 - BETA_1**n)
                torch._foreach_lerp_(first, gradient, 1 - BETA_1)
                torch._foreach_lerp_(second, torch._foreach_mul(gradient, gradient), 1 - BETA_2)
                divisor = torch._foreach_sqrt(second)
                torch._foreach_add_(divisor, EPSILON)
                torch._foreach_addcdiv_(parameters, first, divisor, value=-rate)
        scores = []
        for index, fit in enumerate(fits):
            test = self._X[torch.from_numpy(self._data.rows(fit)[1])]
            scores.append(torch.sigmoid(_logits([it[index] for it in parameters], test)).numpy())
        return scores


def _logits(parameters: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for kernel, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = torch.relu(x @ kernel + bias)
    return x @ parameters[-2] + parameters[-1]


def _loss(
    parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        _logits(parameters, x), y, reduction="none"
    )
    return (losses.mean(dim=1) * weights).sum() / weights.sum().clamp(min=1)
