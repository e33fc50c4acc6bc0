"""Progress of the training as a bar in a notebook."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

SECONDS_BETWEEN_UPDATES = 0.2


def is_notebook() -> bool:
    """Return whether a notebook's kernel runs this process."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


@contextmanager
def notebook_progress(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show the progress below the running cell; the yielded function advances it, from any thread.

    Args:
        total: Number of units.
        unit: Name of a unit, in the plural.
    """
    display = sys.modules["IPython.display"]
    done, shown, lock = 0, time.monotonic(), Lock()
    handle = display.display(display.HTML(_bar(0, total, unit)), display_id=True)

    def advance(n: int) -> None:
        nonlocal done, shown
        with lock:
            done += n
            if time.monotonic() - shown > SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                handle.update(display.HTML(_bar(done, total, unit)))

    try:
        yield advance
    finally:
        handle.update(display.HTML(""))


def _bar(done: int, total: int, unit: str) -> str:
    return f'<progress value="{done}" max="{total}"></progress> {done}/{total} {unit}'
