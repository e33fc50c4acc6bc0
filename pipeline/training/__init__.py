"""Training: every fold at once, in compiled programs that the folds share."""

from pipeline.training.batches import fit_seed
from pipeline.training.fit import Fit, Fitted
from pipeline.training.optimizer import make_optimizer
from pipeline.training.trainer import StackedTrainer, Stopped

__all__ = ["Fit", "Fitted", "StackedTrainer", "Stopped", "fit_seed", "make_optimizer"]
