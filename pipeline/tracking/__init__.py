"""Runs in MLflow."""

from pipeline.tracking.heartbeat import signs_of_life
from pipeline.tracking.resume import Earlier, find_earlier
from pipeline.tracking.runs import Archive, paired_scores
from pipeline.tracking.store import Store, locate, open_store, refuse_unreachable, store_at
from pipeline.tracking.sweep_run import (
    Plan,
    Sweep,
    SweepJob,
    begin_sweep,
    end_sweep,
    failures_kept,
    find_sweep,
    forget_sweep,
    log_leaderboard,
    mark_job_lost,
    mark_lost,
    read_leaderboard,
    supersede,
)
