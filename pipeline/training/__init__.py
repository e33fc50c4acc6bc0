"""Training: every fold at once, in compiled programs that the folds share."""

from pipeline.training.batches import fit_seed
from pipeline.training.fit import Fit, Fitted
from pipeline.training.optimizer import make_optimizer
from pipeline.training.trainer import StackedTrainer

__all__ = ["Fit", "Fitted", "StackedTrainer", "fit_seed", "make_optimizer"]
