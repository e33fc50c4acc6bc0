"""Multi-label metrics and their statistics over folds."""

from pipeline.scoring.classification_metrics import EPSILON, Counts, Labels, Metric, Scores
from pipeline.scoring.scorer import (
    QUOTIENTS,
    explain,
    find_metric,
    in_words,
    label_scores,
    lower_is_better,
    refuse_diverged,
    refuse_unknown_metrics,
    score,
    short_name,
)
from pipeline.scoring.statistics import (
    PairedTest,
    Summary,
    are_constant,
    corrected_error,
    holm,
    paired_test,
    summarise,
)
