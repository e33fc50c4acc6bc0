"""Keras and scikit-learn models."""
