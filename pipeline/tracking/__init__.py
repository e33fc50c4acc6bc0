"""Runs in MLflow."""

from pipeline.tracking.heartbeat import send_heartbeats
from pipeline.tracking.resume import PreviousRun, find_previous_run
from pipeline.tracking.runs import RunReader, paired_scores
from pipeline.tracking.store import Store, check_store, locate, open_store, store_at
from pipeline.tracking.sweep_run import (
    Sweep,
    SweepJob,
    SweepPlan,
    begin_sweep,
    end_dead_job,
    end_dead_runs,
    end_sweep,
    find_sweep,
    forget_sweep,
    log_leaderboard,
    read_leaderboard,
    record_failures,
    supersede,
)
