"""Preprocessing of features, learnt per fold."""

from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor, fit_preprocessor
