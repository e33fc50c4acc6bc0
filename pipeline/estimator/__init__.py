"""Scikit-learn's estimators by configuration, and what they make of several labels."""

from pipeline.estimator.build import build_estimator, refuse_unfit
from pipeline.estimator.labels import Averaged, LabelModel, fit_labels
from pipeline.estimator.storage import own_packages, refuse_unsavable, save

__all__ = [
    "Averaged",
    "LabelModel",
    "build_estimator",
    "fit_labels",
    "own_packages",
    "refuse_unfit",
    "refuse_unsavable",
    "save",
]
