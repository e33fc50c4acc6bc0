"""Compare finished runs fold by fold."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.runtime import heavy_imports, mlruns

if TYPE_CHECKING:
    from pipeline.comparison import Ranking, RunScores
    from pipeline.tracking import RunReader


FIGURES = (".pdf", ".png", ".svg")


def main(words: Sequence[str]) -> NoReturn:
    """Compare the runs that the command line names."""
    arguments = make_parser().parse_args(words)
    try:
        with heavy_imports():
            from pipeline.job import attempt
        sys.exit(attempt(lambda: _compare(arguments)).exit_code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def _compare(arguments: argparse.Namespace) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.comparison import (
            averaged,
            check_paired,
            choose_metric,
            conclusion,
            drop_duplicates,
        )
        from pipeline.console.run_tables import as_dict, compare_tables
        from pipeline.tracking import RunReader, store_at

    with console.waiting("reading the runs"):
        reader = RunReader(store_at(arguments.tracking_uri))
        found = reader.find(arguments.runs)
        if found.skipped:
            statuses = ", ".join(f"{n} {status}" for status, n in sorted(found.skipped.items()))
            console.show(f"Left out, as not finished: {statuses}")
        different = drop_duplicates(found.runs)
        if n_repeats := len(found.runs) - len(different):
            console.show(f"Left out, as another run repeats them: {n_repeats}")
        check_paired(different)
        runs = averaged(different, arguments.average) if arguments.average else different
        metric = choose_metric(runs, arguments.metric)
        named, ranking = _rank(reader, runs, metric, arguments)
    counts = {len(run.run_ids) for run in runs}
    if len(counts) > 1:
        console.show(f"Averages are of {min(counts)} to {max(counts)} runs, not of equally many")
    console.show(*compare_tables(ranking, named))
    console.show(f"{conclusion(ranking)}\n")
    if arguments.json:
        numbers = json.dumps(as_dict(ranking, named), indent=1, allow_nan=False)
        _write(arguments.json, lambda path: path.write_text(f"{numbers}\n"))
        console.show_file("Numbers", arguments.json)
    with console.waiting("drawing"), heavy_imports():
        from pipeline.report.paired_differences import ranking_figure

        path = arguments.figure or _figure_path(ranking, named)
        _write(path, ranking_figure(ranking).savefig)
    console.show_file("Figure", path)


def _rank(
    reader: "RunReader", runs: Sequence["RunScores"], metric: str, arguments: argparse.Namespace
) -> tuple[dict[str, "RunScores"], "Ranking"]:
    """Return the runs by the names they are shown by, and what may be said of them."""
    from pipeline.comparison import best, brief_names, rank
    from pipeline.errors import UserError
    from pipeline.scoring import lower_is_better

    sizes = reader.fold_sizes(runs[0])
    chosen = best(runs, metric)
    named = dict(zip(brief_names(chosen), chosen, strict=True))
    scores = {name: reader.scores(run, metric, len(sizes)) for name, run in named.items()}
    try:
        ranking = rank(
            scores,
            metric=metric,
            test_fraction=float((sizes[:, 1] / sizes[:, 0]).mean()),
            lower_is_better=lower_is_better(metric),
            alpha=arguments.alpha,
            rope=arguments.rope,
            n_unranked=len(runs) - len(chosen),
        )
    except ValueError as error:
        raise UserError(f"--metric: {error} A single split cannot be judged.") from error
    return named, ranking


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then give it its own."""
    from pipeline.errors import UserError

    unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise UserError(
            f"Expected a file that can be written. Received: {path} ({error})"
        ) from error


def _figure_path(ranking: "Ranking", named: Mapping[str, "RunScores"]) -> Path:
    """Return where the figure of these runs goes, unless told."""
    run_ids = sorted(run_id for run in named.values() for run_id in run.run_ids)
    digest = sha256(" ".join(run_ids).encode()).hexdigest()[:8]
    return mlruns() / "compare" / f"{ranking.metric}-{len(named)}-{digest}.png"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="manyfold compare",
        description="Which configuration is really better, and may one say so? Compares the scores "
        "of finished runs fold by fold.",
    )
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        metavar="SWEEP|RUN",
        help="name or id of a run, the start of its id, or a sweep: all its finished runs",
    )
    add("--metric", help="by which to compare; else the headline, the first of scoring.metrics")
    add(
        "--rope",
        type=_at_least_zero,
        default=0.01,
        help="differences up to this size do not matter in practice (default: 0.01)",
    )
    add(
        "--alpha",
        type=_between_zero_and_one,
        default=0.05,
        help="accepted chance of a single false difference among all pairs (default: 0.05)",
    )
    add("--average", metavar="KEY", help="average runs that differ in this setting alone, as seed")
    add("--json", type=Path, metavar="FILE", help="write all numbers there")
    add(
        "--figure",
        type=_figure,
        metavar="FILE",
        help="draw there (.png, .svg or .pdf), not under mlruns/compare",
    )
    add("--tracking-uri", metavar="URI", help="the MLflow store, if not mlruns/mlflow.db")
    return parser


def _at_least_zero(text: str) -> float:
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0. Received: {text}")
    return value


def _between_zero_and_one(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1. Received: {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")  # in no range


def _figure(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FIGURES:
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in one of {', '.join(FIGURES)}. Received: {text}"
        )
    return path
