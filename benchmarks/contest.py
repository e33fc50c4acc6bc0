"""One work by all contestants: the first training of a process, then trainings in turn.

Each contestant runs in processes of its own. Those that compile start twice, with an empty and
with a filled cache of compiled programs; the second process stays, and the trainings after
compiling take turns. A contestant that is more than twice as slow as the fastest takes part in
one round, the others in five. Loops that train one fit after another are timed on some fits.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.process import ContestantError, Worker, measure
from benchmarks.works import Work

ROUNDS = 5
SECONDS_ALONE = 30.0  # of a contestant that does not take turns
SLOW = 2.0  # times the fastest; a slower contestant is timed once
Say = Callable[[str], None]


class Contender(NamedTuple):
    """A way to do a work.

    Attributes:
        title: Name in tables.
        module: Module of `benchmarks/contestants`.
        settings: Its settings.
        compiles: Whether it keeps compiled programs, and takes part in the rounds.
        n_fits: Fits of a timed call; 0 for all.
        only: Names of the works it takes part in; empty for all.
    """

    title: str
    module: str
    settings: tuple[str, ...] = ()
    compiles: bool = False
    n_fits: int = 0
    only: tuple[str, ...] = ()


CONTENDERS = {
    "manyfold": Contender("Manyfold", "manyfold", compiles=True),
    "jax_all": Contender("JAX, vmap of all fits", "jax_vmap", ("all",), compiles=True),
    "jax_half": Contender("JAX, vmap, half in each thread", "jax_vmap", ("half",), compiles=True),
    "jax_one": Contender("JAX, one by one in 2 threads", "jax_vmap", ("1",), compiles=True),
    "c": Contender("C, one hidden layer", "c_program", compiles=True, only=("tutorial",)),
    "torch": Contender("PyTorch, torch.func.vmap", "torch_func"),
    "sklearn": Contender("scikit-learn, n_jobs=2", "sklearn_mlp", n_fits=2),
    "keras_tuned": Contender("Keras, XLA, model reused", "keras_loop", ("tuned",), n_fits=1),
    "keras": Contender("Keras, plain loop", "keras_loop", n_fits=1),
}
Result = dict[str, Any]


def run_contest(
    work: Work, say: Say, *, names: Sequence[str] = tuple(CONTENDERS), rounds: int = ROUNDS
) -> Result:
    """Return the times, accuracies and memory of all contestants.

    Args:
        work: The work.
        say: Prints progress.
        names: Contestants.
        rounds: Most trainings of each after the first.
    """
    results: dict[str, Result] = {}
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("-m", "benchmarks.works", work.to_json(), str(folder))
        for key in names:
            contender = CONTENDERS[key]
            if contender.only and work.name not in contender.only:
                continue
            say(f"{work.name}: {contender.title}")
            result = results[key] = {"n_fits": contender.n_fits or work.n_fits, "rounds": []}
            try:
                if contender.compiles:
                    workers[key] = _start_twice(contender, work, folder, result)
                else:
                    _run_alone(contender, work, folder, result, rounds)
            except ContestantError as error:
                result["error"] = str(error)
        try:
            _take_turns(work, workers, results, rounds, say)
        finally:
            for worker in workers.values():
                worker.close()
    return {"work": {**asdict(work), "title": str(work)}, "contestants": results}


def _start_twice(contender: Contender, work: Work, folder: Path, result: Result) -> Worker:
    """Train with an empty cache, then in another process with the filled one, which stays."""
    cache = cache_variables(tempfile.mkdtemp(dir=folder))
    first = Worker(contender.module, work, folder, contender.settings, cache)
    result["cold"] = first.train(range(work.n_fits), prepare=True)["seconds"]
    first.close()
    worker = Worker(contender.module, work, folder, contender.settings, cache)
    answer = worker.train(range(work.n_fits), prepare=True)
    result["warm"] = answer["seconds"]
    _keep(result, worker, answer)
    return worker


def _run_alone(contender: Contender, work: Work, folder: Path, result: Result, rounds: int) -> None:
    """Train some fits in a process, then others, for at most `SECONDS_ALONE`."""
    worker = Worker(
        contender.module, work, folder, contender.settings, cache_variables(str(folder))
    )
    n_fits = contender.n_fits or work.n_fits
    began = time.perf_counter()
    answer = worker.train(range(n_fits), prepare=True)
    result["first"] = answer["seconds"]
    _keep(result, worker, answer)
    while len(result["rounds"]) < rounds and time.perf_counter() - began < SECONDS_ALONE:
        start = n_fits * (len(result["rounds"]) + 1)
        answer = worker.train([fit % work.n_fits for fit in range(start, start + n_fits)])
        result["rounds"].append(answer["seconds"])
        result["accuracy"] |= answer["accuracy"]
    worker.close()
    result["rounds"] = result["rounds"] or [result["first"]]


def _take_turns(
    work: Work, workers: Mapping[str, Worker], results: dict[str, Result], rounds: int, say: Say
) -> None:
    """Train in turn; after the first round only those that are not slow."""
    running = dict(workers)
    for number in range(rounds):
        say(f"{work.name}: round {number + 1} of {rounds}, {len(running)} contestants")
        for key, worker in list(running.items()):
            try:
                answer = worker.train(range(work.n_fits))
            except ContestantError as error:
                results[key]["error"] = str(error)
                del running[key]
                continue
            results[key]["rounds"].append(answer["seconds"])
        seconds = {key: min(results[key]["rounds"]) for key in running}
        running = {
            key: worker
            for key, worker in running.items()
            if key == "manyfold" or seconds[key] < SLOW * min(seconds.values())
        }


def _keep(result: Result, worker: Worker, answer: Result) -> None:
    names = ("accuracy", "memory", "fits_at_once")
    result |= {name: answer[name] for name in names if answer[name] is not None}
    result["import_memory"] = worker.import_memory


def cache_variables(folder: str) -> dict[str, str]:
    """Return the variables that keep compiled programs in a folder, and TensorFlow silent."""
    return {
        "MANYFOLD_CACHE_DIR": f"{folder}/manyfold",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
