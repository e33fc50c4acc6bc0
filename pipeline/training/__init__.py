"""Train all fits: Keras models in one compiled program, scikit-learn models in processes."""

from pipeline.training.base import NO_ROWS, FitResult, FitSpec, Stopped, mean_curve
