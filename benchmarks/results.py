"""The benchmark's results: measures with their limits, and tables in Markdown.

The results are a dict as `benchmarks/results.json` has it: the machine, and each piece with its
date. Every function takes a part of it and copes with pieces that were not measured.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from benchmarks.command import N_SEEDS
from benchmarks.contest import CONTENDERS, ROUNDS, SLOW
from benchmarks.works import WORKS, Work

TOLERANCE = 0.005  # of the accuracy, beyond three standard errors of as many decisions
BEGIN, END = "<!-- begin: python -m benchmarks -->", "<!-- end: python -m benchmarks -->"
METHOD = (
    "Each contestant has processes of its own: one with an empty cache of compiled programs, and "
    "one with a filled cache. Columns two and three are their first trainings with compiling; "
    "contestants without such a cache have the same time in both. Then trainings take turns, up "
    f"to {ROUNDS} each, of which the median counts; a contestant {SLOW:g} times as slow as the "
    "fastest has one turn. Imports and reading the table are not counted. Keras and scikit-learn "
    "train some of the fits, and their time is that of as many as all. The accuracy is that of "
    "single labels, for the others less Manyfold's on the same fits; a difference above "
    f"{TOLERANCE} and three standard errors is marked. The limits compare with the fastest of the "
    "three arrangements of JAX."
)
FURTHER_COMMANDS = ("sweep", "tall_command", "wide_command", "wide_command_256")
JAX = ("jax_all", "jax_half", "jax_one")
Result = dict[str, Any]


class Measure(NamedTuple):
    """A limit and what was measured.

    Attributes:
        title: The quantity.
        limit: The limit, as text.
        value: The measured value, as text; "not measured" without one.
        is_met: Whether the value keeps the limit; None without a value.
    """

    title: str
    limit: str
    value: str
    is_met: bool | None


def find_work(piece: Result) -> Work:
    """Return the work of a piece."""
    values = {key: value for key, value in piece["work"].items() if key != "title"}
    return Work(**{**values, "hidden_units": tuple(values["hidden_units"])})


def seconds_after(contestant: Result, work: Work) -> float | None:
    """Return the seconds of all fits after compiling: the median, where only some are timed."""
    if not contestant.get("rounds"):
        return None
    return float(median(contestant["rounds"]) * work.n_fits / contestant["n_fits"])


def seconds_first(contestant: Result, work: Work, cache: str) -> float | None:
    """Return the seconds of all fits with compiling, for a `cold` or a `warm` cache."""
    if contestant.get(cache) is not None:
        return float(contestant[cache])
    after = seconds_after(contestant, work)
    if after is None or "first" not in contestant:
        return None
    return float(contestant["first"] + after * (1 - contestant["n_fits"] / work.n_fits))


def compare_accuracy(
    contestant: Result, manyfold: Result, work: Work
) -> tuple[float, float] | None:
    """Return the mean accuracy less Manyfold's on the same fits, and the largest that is chance.

    Both sides draw weights and order of rows for themselves. The standard error takes the decisions
    of both for independent ones, which overestimates it: they are about the same rows.
    """
    own, other = contestant.get("accuracy", {}), manyfold.get("accuracy", {})
    fits = own.keys() & other.keys()
    if not fits:
        return None
    mean = fmean(own[fit] for fit in fits)
    n_decisions = len(fits) * work.n_samples / work.n_splits * work.n_labels
    error = (2 * mean * (1 - mean) / n_decisions) ** 0.5
    return mean - fmean(other[fit] for fit in fits), TOLERANCE + 3 * error


def memory_limit(work: Work, manyfold: Result) -> float:
    """Return the megabytes that the training of a work may take."""
    table = work.n_samples * (work.n_features + work.n_labels) * 4
    state = 4 * work.n_weights * 4 * manyfold["fits_at_once"]  # weights, gradients, Adam's two
    return float(manyfold["import_memory"] + (2.5 * table + state) / 2**20 + 200)


def list_measures(results: Result) -> list[Measure]:
    """Return all measures, met or not."""
    pieces = results["pieces"]
    measures = [*_tutorial_measures(pieces.get("tutorial"))]
    for name in WORKS:
        measures += _work_measures(name, pieces.get(name))
    measures += _command_measures(pieces, results["machine"]["cores"])
    return measures


def _at_least(title: str, limit: float, value: float | None, unit: str) -> Measure:
    text = "not measured" if value is None else f"{value:.3g}{unit}"
    is_met = None if value is None else value >= limit
    return Measure(title, f"at least {limit:g}{unit}", text, is_met)


def _at_most(title: str, limit: float, value: float | None, unit: str) -> Measure:
    digits = ".0f" if value is not None and value >= 100 else ".3g"
    text = "not measured" if value is None else f"{value:{digits}}{unit}"
    is_met = None if value is None else value <= limit
    number = f"{limit:,.0f}" if limit >= 100 else f"{limit:g}"
    return Measure(title, f"at most {number}{unit}" if limit else "", text, is_met)


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or under is None else over / under


def _tutorial_measures(piece: Result | None) -> Iterator[Measure]:
    loop = first = after = None
    if piece:
        work, contestants = find_work(piece), piece["contestants"]
        loop = seconds_after(contestants.get("keras", {}), work)
        first = seconds_first(contestants.get("manyfold", {}), work, "warm")
        after = seconds_after(contestants.get("manyfold", {}), work)
    title = "tutorial, speed-up over the plain Keras loop"
    yield _at_least(f"{title}: first training, filled cache", 200, _ratio(loop, first), "x")
    yield _at_least(f"{title}: after compiling", 450, _ratio(loop, after), "x")


def _work_measures(name: str, piece: Result | None) -> Iterator[Measure]:
    contestants = piece["contestants"] if piece else {}
    work, manyfold = WORKS[name], contestants.get("manyfold", {})
    if piece:
        work = find_work(piece)

    def best(values: Sequence[float | None]) -> float | None:
        return min((value for value in values if value is not None), default=None)

    jax = [contestants.get(key, {}) for key in JAX]
    ratio = _ratio(seconds_after(manyfold, work), best([seconds_after(it, work) for it in jax]))
    yield _at_most(f"{name}, after compiling: times JAX's best arrangement", 1.05, ratio, "x")
    for cache, state in (("warm", "filled"), ("cold", "empty")):
        seconds = [seconds_first(it, work, cache) for it in (manyfold, *jax)]
        title = f"{name}, compiling counted, {state} cache: times JAX's best arrangement"
        yield _at_most(title, 1, _ratio(seconds[0], best(seconds[1:])), "x")
    memory, limit = manyfold.get("memory"), 0.0  # which follows from the measurement
    if memory is not None:
        limit = memory_limit(work, manyfold)
    title = f"{name}, memory: import + 2.5 X and y + state of the fits at once + 200 MB"
    yield _at_most(title, limit, memory, " MB")
    compared = [compare_accuracy(it, manyfold, work) for it in contestants.values()]
    excess = [abs(pair[0]) / pair[1] for pair in compared if pair]
    title = f"{name}, accuracy: largest difference of a contestant, times what may be chance"
    yield _at_most(title, 1, max(excess, default=None), "x")


def _command_measures(pieces: Result, cores: int) -> Iterator[Measure]:
    command, sweep, tutorial = (pieces.get(it) for it in ("command", "sweep", "tutorial"))
    ratio = None
    if command:
        ratio = median(command["later"]["seconds"]) / median(command["import"]["seconds"])
    title = "`python -m pipeline` from the second run on: times `import tensorflow, mlflow`"
    yield _at_most(title, 1.45, ratio, "x")
    ratio = speed_up = None
    if sweep:
        ratio = median(sweep["jobs"]) / job_training_seconds(sweep, cores)
        keras = tutorial and tutorial["contestants"].get("keras")
        if tutorial and keras and (loop := seconds_after(keras, find_work(tutorial))):
            speed_up = (len(sweep["jobs"]) + 1) * loop / sweep["seconds"][0]
    title = "sweep in one process: a further job, times its own training"
    yield _at_most(title, 1.7, ratio, "x")
    title = f"sweep of {4 * N_SEEDS} configurations: speed-up over as many plain Keras loops"
    yield _at_least(title, 150, speed_up, "x")
    tall = pieces.get("tall_command")
    title = "1,000,000 x 50, 3 folds, early stopping: the command's second run"
    yield _at_most(title, 45, tall and tall["seconds"][-1], " s")
    for key, batch in (("wide_command", "32 (the default)"), ("wide_command_256", "256")):
        wide, table = pieces.get(key), "10,000 x 5,000 sparse x 1,000 labels, 3 folds x 5 epochs"
        title = f"{table}, batch {batch}: the command's second run"
        yield _at_most(title, 25, wide and wide["seconds"][-1], " s")
        yield _at_most("the same, memory", 2_000, wide and wide["memory"], " MB")


def job_training_seconds(sweep: Result, cores: int) -> float:
    """Return the training time of a job: that of its fits, trained side by side on the cores."""
    n_fits = WORKS["tutorial"].n_fits
    return float(median(sweep["training"])) / cores * (n_fits + 1) / n_fits  # and the final model


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with aligned columns."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [
        "| " + " | ".join(f"{cell:{n}}" for cell, n in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (n + 2) for n in widths) + "|")
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def contest_table(piece: Result) -> str:
    """Return the table of one work."""
    work, contestants = find_work(piece), piece["contestants"]
    manyfold = contestants.get("manyfold", {})
    own = seconds_after(manyfold, work)
    rows = []
    for key, contestant in contestants.items():
        after = seconds_after(contestant, work)
        ratio, accuracy = _ratio(after, own), "-"
        if key == "manyfold" and "accuracy" in contestant:
            accuracy = f"{fmean(contestant['accuracy'].values()):.4f}"
        elif pair := compare_accuracy(contestant, manyfold, work):
            accuracy = f"{pair[0]:+.4f}" + (" (differs)" if abs(pair[0]) > pair[1] else "")
        memory = (
            contestant.get("memory") if key != "c" else None
        )  # of its compiled program: unknown
        cells = [_seconds(seconds_first(contestant, work, it)) for it in ("cold", "warm")]
        cells += [_seconds(after), "-" if ratio is None else f"{ratio:.3g}x", accuracy]
        cells.append("-" if memory is None else f"{memory:,.0f}")
        title = CONTENDERS[key].title
        if "error" in contestant:
            title += f" ({contestant['error']})"
        rows.append([title, *cells])
    header = ["", "first, empty cache", "first, filled cache", "after compiling", "ratio"]
    return format_table([*header, "accuracy", "MB"], rows)


def command_table(pieces: Result) -> str:
    """Return the table of the whole commands that were measured."""
    titles = {"import": "`import tensorflow, mlflow`", "first": "`python -m pipeline`, first run"}
    titles["later"] = "`python -m pipeline`, later runs"
    rows = []
    for key, title in titles.items():
        if "command" in pieces:
            costs = pieces["command"][key]
            base = median(pieces["command"]["import"]["seconds"])
            rows.append([title, _seconds(median(costs["seconds"]))])
            rows[-1] += [f"{median(costs['seconds']) / base:.2f}x", f"{costs['memory']:,.0f}"]
    for key in FURTHER_COMMANDS:
        if key in pieces:
            piece = pieces[key]
            title = f"`python -m pipeline {piece.get('command')}`, second run"
            if key == "sweep":
                title = f"{len(piece['jobs']) + 1} configurations in one process"
            rows.append([title, _seconds(piece["seconds"][-1]), "", f"{piece['memory']:,.0f}"])
    return format_table(["", "seconds", "ratio", "MB"], rows)


def curve_table(curves: Result) -> str:
    """Return the points of all curves."""
    rows = []
    for quantity, points in curves["points"].items():
        for point in points:
            times = [_seconds(point.get(key)) for key in ("first", "later")]
            memory = point.get("error") or f"{point['memory']:,.0f}"
            rows.append([f"{point['value']:,} {quantity}", *times, memory])
    return format_table(["", "first training, s", "after compiling, s", "MB"], rows)


def stack_table(stacks: Result) -> str:
    """Return the milliseconds of a fold and epoch by the number of folds in a program."""
    sizes = sorted({it["value"] for work in stacks["works"].values() for it in work["points"]})
    rows = []
    for name, work in stacks["works"].items():
        scale = 1000 / (WORKS[name].n_fits * WORKS[name].epochs)
        later = {it["value"]: it.get("later") for it in work["points"]}
        cells = ["-" if (it := later.get(n)) is None else f"{it * scale:.3g}" for n in sizes]
        rows.append([work["title"], *cells, str(work["automatic"])])
    return format_table(["", *map(str, sizes), "chosen"], rows)


def measure_table(results: Result) -> str:
    """Return all measures with their limits."""
    words = {True: "yes", False: "no", None: ""}
    rows = [[it.title, it.limit, it.value, words[it.is_met]] for it in list_measures(results)]
    return format_table(["measure", "limit", "measured", "met"], rows)


def format_results(results: Result) -> str:
    """Return all tables with their headings."""
    machine, pieces = results["machine"], results["pieces"]
    dates = sorted({piece["date"] for piece in pieces.values()})
    loads = [piece["load"] for piece in pieces.values()]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        f"Measured on {' and '.join(dates)} by `make bench`: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB; {versions}. The load of the "
        f"machine was {min(loads):.1f} to {max(loads):.1f} when the pieces began; 0 is idle.",
        METHOD,
        "![Times and memory by size](measurements.png)",
        "### Measures",
        measure_table(results),
    ]
    for name in WORKS:
        if name in pieces:
            title = pieces[name]["work"]["title"]
            parts += [f"### {name.capitalize()}: {title}", contest_table(pieces[name])]
    if pieces.keys() & {"command", *FURTHER_COMMANDS}:
        parts += ["### Whole commands", command_table(pieces)]
    if "sweep" in pieces:
        sweep = pieces["sweep"]
        training = job_training_seconds(sweep, machine["cores"])
        parts.append(
            f"A further job of the sweep takes {median(sweep['jobs']):.2f} s, of which "
            f"{training:.2f} s are training."
        )
    if "curves" in pieces:
        base = f"One quantity changes, the others are {pieces['curves']['base']}."
        parts += ["### Time and memory by size", base, curve_table(pieces["curves"])]
    if "stacks" in pieces:
        text = "Milliseconds of a fold and epoch in two threads, by folds in a compiled program."
        parts += ["### Folds in a compiled program", text, stack_table(pieces["stacks"])]
    return "\n\n".join(parts)


def update_page(page: str, results: Result) -> str:
    """Return the text of a page with the tables of the results between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"Expected a page with the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{format_results(results)}\n\n{END}{after}"
