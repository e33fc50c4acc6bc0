"""What a run leaves in MLflow: the only room that imports it."""

from pipeline.tracking.alive import signs_of_life
from pipeline.tracking.children import mark_lost, read_leaderboard, supersede
from pipeline.tracking.identity import Identity, digest, identify
from pipeline.tracking.model import log_model, predict_rows
from pipeline.tracking.resume import Earlier, find_earlier
from pipeline.tracking.run import TrackedRun, track
from pipeline.tracking.store import Store, locate, open_store, refuse_unreachable
from pipeline.tracking.sweep import (
    Plan,
    Sweep,
    SweepJob,
    begin_sweep,
    end_sweep,
    find_sweep,
    forget_sweep,
    log_leaderboard,
)
from pipeline.tracking.unstarted import failures_kept

__all__ = [
    "Earlier",
    "Identity",
    "Plan",
    "Store",
    "Sweep",
    "SweepJob",
    "TrackedRun",
    "begin_sweep",
    "digest",
    "end_sweep",
    "failures_kept",
    "find_earlier",
    "find_sweep",
    "forget_sweep",
    "identify",
    "locate",
    "log_leaderboard",
    "log_model",
    "mark_lost",
    "open_store",
    "predict_rows",
    "read_leaderboard",
    "refuse_unreachable",
    "signs_of_life",
    "supersede",
    "track",
]
