"""`pipeline.evaluate` in Python against the whole command, each less its imports.

Both cross-validate the default network on the same 1,000 rows in a process of their own, on the
same folds. The time of the command is that of its process, less that of a process that imports what
it needs; the time of `evaluate` is measured within its process after the imports. The processes
take turns; the median of 3 rounds counts.

Measured on 2 cores: command 7.2 s, evaluate 5.8 s, 0.81 times.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROUNDS = 3
IMPORTS = (
    "import pipeline.sweeps, pipeline.command_line, pipeline.job, pipeline.report.figures\n"
    "import pipeline.api.evaluating, pipeline.dataset.npz\n"
    "from pipeline.keras_backend import reset_keras\n"
    "from pipeline.runtime import heavy_imports\n"
    "with heavy_imports():\n"
    "    reset_keras()\n"
    "    import pipeline.training.keras_trainer\n"
)
EVALUATE = (
    "import sys, time\n"
    "import numpy as np\n"
    "data = np.load(sys.argv[1])\n"
    "began = time.perf_counter()\n"
    "pipeline.api.evaluating.evaluate(data['X'], data['y'])\n"
    "print(time.perf_counter() - began)\n"
)


def seconds(*arguments: str) -> tuple[float, str]:
    """Run Python and return its time and its output."""
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, *arguments], check=True, text=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - began, process.stdout


def main() -> None:
    command, function = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        rng = np.random.default_rng(0)
        X = rng.normal(size=(1000, 10))
        np.savez(path, X=X, y=(X[:, :3] + rng.normal(size=(1000, 3)) > 0).astype(np.int8))
        for number in range(ROUNDS):
            store = f"tracking.uri=sqlite:///{folder}/{number}.db"
            settings = ("dataset=npz", f"dataset.path={path}", f"hydra.run.dir={folder}/hydra")
            imports, _ = seconds("-c", IMPORTS)
            whole, _ = seconds("-m", "pipeline", *settings, store)
            command.append(whole - imports)
            _, output = seconds("-c", IMPORTS + EVALUATE, str(path))
            function.append(float(output))
    print("30 folds and the final model, less the imports:")
    print(f"  python -m pipeline   {median(command):6.2f} s")
    print(
        f"  pipeline.evaluate    {median(function):6.2f} s "
        f"({median(function) / median(command):.2f} times)"
    )


if __name__ == "__main__":
    main()
