"""What a run leaves in MLflow: the only room that imports it."""

from pipeline.tracking.folds import paired_scores
from pipeline.tracking.model import log_model, predict_rows
from pipeline.tracking.run import TrackedRun, track
from pipeline.tracking.store import Store, locate, open_store, refuse_unreachable

__all__ = [
    "Store",
    "TrackedRun",
    "locate",
    "log_model",
    "open_store",
    "paired_scores",
    "predict_rows",
    "refuse_unreachable",
    "track",
]
