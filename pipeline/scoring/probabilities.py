"""Check that what is scored are probabilities."""

import numpy as np

from pipeline.errors import UserError
from pipeline.scoring.classification_metrics import Scores

TOLERANCE = 1e-6  # rounding of float32
DIVERGED_HINT = (
    "Lower training.learning_rate, scale the features (preprocessing=standard), or clip the "
    "gradients ('training.optimizer_params={clipnorm: 1.0}')."
)


def check_probabilities(y_score: Scores) -> None:
    """Raise UserError if values are NaN, infinite or outside [0, 1]."""
    n_broken = int((~np.isfinite(y_score)).any(axis=1).sum())
    if n_broken:
        raise UserError(
            f"Expected probabilities. Received: NaN for {n_broken} of {len(y_score)} held-out "
            f"rows: the training of a fold diverged. {DIVERGED_HINT}"
        )
    is_outside = (y_score < -TOLERANCE) | (y_score > 1 + TOLERANCE)
    n_outside = int(is_outside.any(axis=1).sum())
    if n_outside:
        raise UserError(
            f"Expected probabilities in [0, 1]. Received: values from {y_score.min():.3g} to "
            f"{y_score.max():.3g}, outside for {n_outside} of {len(y_score)} held-out rows. The "
            "model must return probabilities, as of a sigmoid."
        )
