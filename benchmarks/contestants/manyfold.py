"""Manyfold's trainer, as a job of the command calls it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.works import Data, Work
from pipeline.keras_backend import reset_keras
from pipeline.runtime import heavy_imports
from pipeline.training.program_cache import enable_program_cache

enable_program_cache()
with heavy_imports():
    reset_keras()  # imports Keras and TensorFlow, before any other code
    from benchmarks.tutorial import compose_config
    from pipeline.cv.splitters import Split
    from pipeline.dataset.in_memory import make_dataset
    from pipeline.evaluation.inputs import make_trainer, plan_fits
    from pipeline.training.keras_trainer import KerasTrainer


class Contestant:
    """All fits in stacks of compiled programs."""

    def __init__(self, work: Work, data: Data, *settings: str) -> None:
        """Plan the fits.

        Args:
            work: The work.
            data: Its table and folds.
            settings: Further settings of the command line, such as training.n_threads=1.
        """
        units = ",".join(map(str, work.hidden_units))
        self._config = compose_config(
            *("preprocessing=none", f"model.hidden_units=[{units}]"),
            *(f"training.epochs={work.epochs}", f"training.batch_size={work.batch_size}"),
            *settings,
        )
        self._dataset = make_dataset(work.name, data.X, data.y)
        splits = [Split(*divmod(fit, work.n_splits), *data.rows(fit)) for fit in range(work.n_fits)]
        fits, _, _ = plan_fits(self._config, self._dataset, splits)
        self._fits = fits[: work.n_fits]  # without the final model
        self._trainer: KerasTrainer

    def prepare(self) -> None:
        """Build and compile the programs, and draw the initial weights."""
        trainer = make_trainer(self._config, self._dataset, self._fits)
        assert isinstance(trainer, KerasTrainer)
        self._trainer = trainer
        self._trainer.compile()

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        return [result.y_score for result in self._trainer.train(fit_indices=fits)]

    @property
    def fits_at_once(self) -> int:
        """Number of fits that the threads train at the same time."""
        plan = self._trainer._plan
        return int(min(len(self._fits), plan.fits_per_program * plan.n_threads))
