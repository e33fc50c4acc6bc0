"""What a run leaves in MLflow: the only room that imports it.

What writes runs imports TensorFlow and waits until it is asked for, as what only reads them answers
in a few seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.tracking.evidence import Archive
from pipeline.tracking.store import Store, locate, open_store, refuse_unreachable, store_at

if TYPE_CHECKING:
    from pipeline.tracking.model import log_model, predict_rows
    from pipeline.tracking.run import TrackedRun, track

__all__ = [
    "Archive",
    "Store",
    "TrackedRun",
    "locate",
    "log_model",
    "open_store",
    "predict_rows",
    "refuse_unreachable",
    "store_at",
    "track",
]

_WAITING = {"log_model": "model", "predict_rows": "model", "TrackedRun": "run", "track": "run"}


def __getattr__(name: str) -> object:
    """Import what waits when it is first asked for."""
    if name not in _WAITING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WAITING[name]}"), name)
