"""Training: every fold at once, in compiled programs that the folds share."""

from pipeline.training.batches import fit_seed
from pipeline.training.fit import Fit, Fitted, Stopped, mean_curve
from pipeline.training.kinds import Trainer, make_trainer

__all__ = ["Fit", "Fitted", "Stopped", "Trainer", "fit_seed", "make_trainer", "mean_curve"]
