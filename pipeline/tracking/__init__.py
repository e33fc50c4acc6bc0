"""What a run leaves in MLflow: the only room that imports it.

What writes runs imports TensorFlow and waits until it is asked for, as what only reads them answers
in a few seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.tracking.alive import signs_of_life
from pipeline.tracking.children import mark_lost, read_leaderboard, supersede
from pipeline.tracking.evidence import Archive
from pipeline.tracking.folds import paired_scores
from pipeline.tracking.identity import Identity, digest, identify
from pipeline.tracking.lost import mark_job_lost
from pipeline.tracking.registry import promote
from pipeline.tracking.resume import Earlier, find_earlier
from pipeline.tracking.store import Store, locate, open_store, refuse_unreachable, store_at
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

if TYPE_CHECKING:
    from pipeline.tracking.model import log_model, predict_rows
    from pipeline.tracking.run import TrackedRun, track

__all__ = [
    "Archive",
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
    "mark_job_lost",
    "mark_lost",
    "open_store",
    "paired_scores",
    "predict_rows",
    "promote",
    "read_leaderboard",
    "refuse_unreachable",
    "signs_of_life",
    "store_at",
    "supersede",
    "track",
]

_WAITING = {"log_model": "model", "predict_rows": "model", "TrackedRun": "run", "track": "run"}


def __getattr__(name: str) -> object:
    """Import what waits when it is first asked for."""
    if name not in _WAITING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WAITING[name]}"), name)
