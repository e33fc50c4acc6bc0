"""Imputation, scaling and one-hot encoding, learnt per fold."""

from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor, fit_preprocessor
