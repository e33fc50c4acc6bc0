"""How much MLflow takes."""

MAX_PARAM = 6000  # characters of a parameter's value
MAX_TAG = 5000  # characters of a tag's value
MAX_NAME = 250  # characters of a run's name
MAX_PARAMS = 100  # in one call
MAX_METRICS = 1000  # in one call
