"""Multi-label metrics and their statistics over folds."""

from pipeline.scoring.classification_metrics import EPSILON, Counts, Labels, Metric, Scores
from pipeline.scoring.number_format import (
    FormattedSummary,
    choose_decimals,
    common_decimals,
    format_interval,
    format_number,
    format_summary,
)
from pipeline.scoring.scorer import (
    DECISION_METRICS,
    DIVERGED_HINT,
    RATIO_METRICS,
    check_directions,
    check_finite,
    check_metrics,
    describe_metric,
    explain_metric,
    find_metric,
    label_scores,
    lower_is_better,
    metric_range,
    metric_title,
    own_directions,
    score,
    short_name,
)
from pipeline.scoring.statistics import (
    MetricSummary,
    PairedTest,
    are_constant,
    corrected_error,
    holm,
    paired_test,
    summarise,
    summary_key,
)
