"""Run one contestant in this process, as the benchmark tells it line by line.

Usage: `python -m benchmarks.worker MODULE WORK FOLDER [SETTING...]`, with a module of
`benchmarks/contestants`, a work in JSON, and the folder of its table. Each line of the input is a
request in JSON: {"prepare": whether to build and compile anew, "fits": numbers of the fits}. Each
answer is a line of JSON with the seconds, the accuracy of each fit and the peak of memory.
"""

import json
import os
import resource
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from benchmarks.works import Work, read_data


def peak_megabytes() -> float:
    """Return the peak of resident memory of this process and its living children."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for path in Path("/proc/self/task").glob("*/children"):  # joblib's, of scikit-learn
        with suppress(
            FileNotFoundError, ProcessLookupError
        ):  # a thread or child that ends just now
            for child in path.read_text().split():
                lines = Path("/proc", child, "status").read_text().splitlines()
                peak += sum(int(it.split()[1]) / 1024 for it in lines if it.startswith("VmHWM"))
    return peak


def main() -> None:
    module, sizes, folder, *settings = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def answer(**values: object) -> None:
        print(json.dumps(values), file=answers, flush=True)

    work = Work.from_json(sizes)
    try:
        class_ = import_module(f"benchmarks.contestants.{module}").Contestant
        import_memory = peak_megabytes()
        data = read_data(Path(folder))
        contestant = class_(work, data, *settings)
    except ImportError as error:
        answer(error=f"not installed: {error.name}")
        return
    answer(import_memory=import_memory)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        if request["prepare"]:
            contestant.prepare()
        scores = contestant.train(request["fits"])
        seconds = time.perf_counter() - began
        accuracy = {}
        for fit, y_score in zip(request["fits"], scores, strict=True):
            accuracy[fit] = float(((y_score > 0.5) == data.y[data.rows(fit)[1]]).mean())
        answer(
            seconds=seconds,
            accuracy=accuracy,
            memory=peak_megabytes(),
            fits_at_once=getattr(contestant, "fits_at_once", None),
        )


if __name__ == "__main__":
    main()
