"""Hydra's own sweeper, made quicker to begin."""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def register() -> None:
    """Let Hydra's sweeper look at each option once before the first job.

    It would compose every job then, to find what cannot be composed: minutes of silence before
    thousands. What it would find is an option. Hydra knows its own plugins by their place, so that
    a class of another place cannot stand for one.
    """
    known: dict[str, Any] = Plugins.instance().class_name_to_class
    known[BASIC].validate_batch_is_legal = _validate


def _validate(self: Sweeper, batch: Sequence[Sequence[str]]) -> None:
    seen: set[str] = set()
    telling = []
    for overrides in batch:
        if not seen.issuperset(overrides):
            seen.update(overrides)
            telling.append(overrides)
    Sweeper.validate_batch_is_legal(self, telling)
