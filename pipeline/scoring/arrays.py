"""What the metrics take: one row per sample, one column per label."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Scores = NDArray[np.float32]
Metric = Callable[[Labels, Scores, Labels], float]
"""Takes y_true, y_score and y_pred, each of shape (n_samples, n_labels); NaN where undefined."""
