"""Cross-validation of one configuration."""

from pipeline.evaluation.fingerprint import Identity, code_version, digest, identify, versions
from pipeline.evaluation.inputs import Material, read
from pipeline.evaluation.racing import Decision, Race, in_words, make_race, raced_metric
