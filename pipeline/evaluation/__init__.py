"""Cross-validation of one configuration."""

from pipeline.evaluation.fingerprint import compute_fingerprint, versions
from pipeline.evaluation.inputs import EvaluationInputs, load_inputs
from pipeline.evaluation.racing import Race, describe_decision, make_race, raced_metric
