"""Checks for what is wrong with an experiment: data, folds, predictions and sweeps."""

from pipeline.checks.data_checks import check_data
from pipeline.checks.finding import CHECKS, Finding, select, to_table
from pipeline.checks.fold_checks import check_evaluation, check_run
