"""Calibration and thresholds: from probabilities to 0/1 predictions."""

from pipeline.decision.rule import DecisionRule
from pipeline.decision.tuning import fixed_rule, learn_rule, needs_inner
