"""The trainer that a configuration asks for; TensorFlow is imported only for Keras models."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Protocol

from pipeline.config import Config, PythonModelConfig, SklearnModelConfig
from pipeline.dataset import Dataset
from pipeline.training.fit import Fit, Fitted, Progress


class Trainer(Protocol):
    """What trains fits of one kind of model on one table."""

    unit: str
    """What progress counts."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the user should know of the training so far."""

    @property
    def work(self) -> int:
        """How much of it one fit is."""

    def compile(self) -> None:
        """Do what can be done before the training, beside other things."""

    def train(
        self, progress: Progress = ..., places: Sequence[int] | None = None
    ) -> Generator[Fitted]:
        """Yield what was trained, in the order of the fits, as soon as it is there."""

    def stop(self) -> None:
        """Let the training end early; it raises `Stopped` then."""

    def final_model(self, members: Sequence[Fitted], fit: Fit) -> Any:
        """Return the model of one fit, or of the members of an ensemble."""


def make_trainer(config: Config, dataset: Dataset, fits: Sequence[Fit]) -> Trainer:
    """Return the trainer of the configuration's kind of model.

    Raises:
        UserError: If the model or how it is trained cannot be as configured.
    """
    if isinstance(config.model, SklearnModelConfig):
        from pipeline.training.estimators import EstimatorTrainer

        return EstimatorTrainer(config.model, config.training, dataset.X, dataset.y, fits)

    from pipeline.model import build_model, refuse_unsavable
    from pipeline.training.trainer import StackedTrainer

    build = partial(build_model, config.model, n_labels=dataset.n_labels)
    if isinstance(config.model, PythonModelConfig):
        refuse_unsavable(config.model, build(fits[-1].preparation.n_columns))
    architecture = repr((config.model, dataset.n_labels))
    return StackedTrainer(build, config.training, dataset.X, dataset.y, fits, architecture)
