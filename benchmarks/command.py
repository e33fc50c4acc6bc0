"""The whole command `python -m pipeline` against a process that only imports what it needs.

Both are child processes of this one: wall time from start to exit, and the peak of resident memory
that the kernel reports of them. The command runs on a new SQLite store, which it creates, and then
again on the same one; the import is `import tensorflow, mlflow`. The three take turns after one
import that is not counted (it warms the file cache); the median of 3 counts, and the
fastest is shown beside it, as other work on the machine only ever adds.

Measured three times on 2 busy cores: import 5.7, 8.6 and 10.7 s, 741 MB; first run 1.85, 1.83 and
1.78 times that; second run 2.07, 1.65 and 1.77 times; memory 1.39 times.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROUNDS = 3
IMPORT = ("-c", "import tensorflow, mlflow")


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    megabytes: float
    processor: float  # seconds that the process and its own children kept a core busy


def measure(*arguments: str) -> Cost:
    """Run Python with these arguments and wait for its end."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # already waited for
        if child.returncode:
            output.seek(0)
            raise SystemExit(f"{arguments} failed:\n{output.read().decode()}")
    return Cost(seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def main() -> None:
    measure(*IMPORT)
    costs: dict[str, list[Cost]] = {"import": [], "first": [], "second": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            store = f"tracking.uri=sqlite:///{Path(folder) / 'mlflow.db'}"
            command = ("-m", "pipeline", store, f"hydra.run.dir={folder}/hydra")
            costs["import"].append(measure(*IMPORT))
            costs["first"].append(measure(*command))
            costs["second"].append(measure(*command))
    middle = {
        name: Cost(*(median(values) for values in zip(*those, strict=True)))
        for name, those in costs.items()
    }
    base = middle["import"]
    print("The whole command, 30 fits and the final model, everything logged and served once:")
    for name, title in (
        ("import", "import tensorflow, mlflow"),
        ("first", "python -m pipeline, first run"),
        ("second", "python -m pipeline, second run"),
    ):
        seconds, megabytes, _ = middle[name]
        fastest, fastest_base = (
            min(cost.seconds for cost in costs[command]) for command in (name, "import")
        )
        print(
            f"  {title:31} {seconds:6.2f} s ({seconds / base.seconds:.2f} times;"
            f" fastest {fastest:5.2f} s, {fastest / fastest_base:.2f} times)"
            f"  {megabytes:6.0f} MB ({megabytes / base.megabytes:.2f} times)"
        )


if __name__ == "__main__":
    main()
