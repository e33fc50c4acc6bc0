"""Runs in MLflow: opened, logged, read back, resumed and registered."""

from mlflow.utils.autologging_utils import disable_autologging

from pipeline.tracking.artifact_reader import (
    has_artifact,
    open_artifact,
    read_held_out,
    read_importance,
)
from pipeline.tracking.dataset_info import DatasetInfo
from pipeline.tracking.heartbeat import RunActiveError, send_heartbeats
from pipeline.tracking.resume import PreviousRun, claim_run, find_previous_run, list_again
from pipeline.tracking.run import TrackedRun, track
from pipeline.tracking.run_reader import RunReader, RunRecord
from pipeline.tracking.store import (
    CODES,
    CRITERION,
    FINAL_FIT,
    SUPERSEDED,
    Store,
    check_store,
    find_page,
    locate,
    open_store,
    store_at,
)
from pipeline.tracking.sweep import (
    BEST,
    VARIED,
    Sweep,
    SweepJob,
    SweepPlan,
    begin_sweep,
    children,
    delete_sweep,
    end_dead_job,
    end_dead_runs,
    end_sweep,
    find_sweep,
    record_failures,
    supersede,
)
