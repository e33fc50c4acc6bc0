"""Decision rules: calibration of probabilities and thresholds."""

from pipeline.decision.rule import DecisionRule
from pipeline.decision.tuning import check_threshold_metric, fixed_rule, learn_rule, needs_inner
