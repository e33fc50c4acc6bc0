"""How many cores this process may keep busy: a job of a parallel sweep has its share of them."""

import os

SHARE = "MANYFOLD_CORES"
OTHERS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def n_cores() -> int:
    """Return the share of a job in a parallel sweep, or all cores that this process may run on."""
    return int(os.environ.get(SHARE, 0)) or _all()


def share_cores(n_jobs: int) -> None:
    """Leave this process its share of the cores; to be called before anything heavy is imported.

    TensorFlow, scikit-learn and the libraries below them read theirs from the environment, once.
    What the user has set there stays.

    Args:
        n_jobs: Jobs that run at once on these cores.
    """
    use_cores(max(1, _all() // n_jobs))


def use_cores(n: int) -> None:
    """Keep this process to so many cores; to be called before anything heavy is imported."""
    for variable, value in as_variables(n).items():
        os.environ.setdefault(variable, value)
    os.environ[SHARE] = str(n)


def as_variables(n: int) -> dict[str, str]:
    """Return the environment variables that keep a process to so many cores."""
    return dict.fromkeys((SHARE, *OTHERS), str(n))


def is_shared() -> bool:
    """Return whether this process is one of several that share the cores, and the screen."""
    return SHARE in os.environ


def _all() -> int:
    return len(os.sched_getaffinity(0))
