"""Training of all folds: Keras in one compiled program, scikit-learn in threads."""

from pipeline.training.base import NO_ROWS, FitResult, FitSpec, Stopped, mean_curve
