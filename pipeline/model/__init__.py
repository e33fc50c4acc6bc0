"""Build, combine and save Keras and scikit-learn models."""
