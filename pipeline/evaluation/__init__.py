"""Cross-validation of one configuration."""

from pipeline.evaluation.fingerprint import code_version, compute_fingerprint, digest, versions
from pipeline.evaluation.inputs import EvaluationInputs, load_inputs
from pipeline.evaluation.racing import Decision, Race, describe_decision, make_race, raced_metric
