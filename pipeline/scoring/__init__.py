"""Multi-label metrics and their statistics over folds."""

from pipeline.scoring.classification_metrics import Counts, Labels, Mask, Metric, Scores, Weights
from pipeline.scoring.own_metrics import check_own_arguments, own_directions
from pipeline.scoring.probabilities import DIVERGED_HINT, check_probabilities
from pipeline.scoring.scorer import (
    CURVE_METRICS,
    DECISION_METRICS,
    RATIO_METRICS,
    check_directions,
    check_metrics,
    describe_metric,
    explain_metric,
    find_metric,
    label_scores,
    lower_is_better,
    metric_range,
    metric_title,
    score,
    short_name,
)
from pipeline.scoring.statistics import (
    NO_INTERVAL,
    MetricSummary,
    PairedTest,
    are_constant,
    choose_decimals,
    common_decimals,
    corrected_error,
    format_interval,
    format_number,
    format_summary,
    holm,
    interval_title,
    paired_test,
    summarise,
    summary_key,
)
