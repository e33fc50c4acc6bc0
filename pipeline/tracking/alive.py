"""Whether a run is under way, or was left by a process that is gone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import mlflow
from mlflow.entities import Run

from pipeline.process import lives

PROCESS = "process"  # the tag that names it
SEEN = "seen"  # the tag with the time of its last sign of life
SECONDS_BETWEEN_SIGNS = 60
SECONDS_OF_SILENCE = 300  # after which a process on another host is given up


@contextmanager
def signs_of_life(run_id: str) -> Iterator[None]:
    """Note in a run, every minute, that its process lives; other hosts cannot look."""
    client, over = mlflow.MlflowClient(), Event()

    def note() -> None:
        while not over.wait(SECONDS_BETWEEN_SIGNS):
            with suppress(Exception):  # the store may be busy, or away; there is a next time
                client.set_tag(run_id, SEEN, f"{time.time():.0f}")

    Thread(target=note, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def is_under_way(run: Run) -> bool:
    """Return whether a process still works on a run."""
    if run.info.status != "RUNNING":
        return False
    process = run.data.tags.get(PROCESS)
    alive = lives(process) if process else None
    if alive is not None:
        return alive
    seen = float(run.data.tags.get(SEEN, run.info.start_time / 1000))
    return time.time() - seen < SECONDS_OF_SILENCE
