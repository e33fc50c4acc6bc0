"""Compare finished runs fold by fold."""

import argparse
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import parse, run
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports, mlruns, write_atomically

if TYPE_CHECKING:
    from pipeline.comparison import Ranking, RunScores
    from pipeline.tracking import RunReader

FIGURES = (".pdf", ".png", ".svg")


def main(words: Sequence[str]) -> int:
    """Compare the runs that the words name and return the exit code."""
    return run(lambda: _compare(*parse(make_parser(), words)))


def _compare(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.comparison import (
            averaged,
            check_paired,
            choose_metric,
            conclusion,
            drop_duplicates,
            to_run_scores,
            with_distinct_names,
        )
        from pipeline.console.run_tables import as_dict, compare_tables
        from pipeline.tracking import RunReader, locate

    with console.waiting("reading the runs"):
        reader = RunReader(locate(tracking))
        found = reader.find(arguments.runs)
        if found.skipped:
            statuses = ", ".join(f"{n} {status}" for status, n in sorted(found.skipped.items()))
            console.show(f"Skipped unfinished runs: {statuses}.")
        all_runs = with_distinct_names([to_run_scores(record) for record in found.runs])
        distinct = drop_duplicates(all_runs)
        if n_duplicates := len(all_runs) - len(distinct):
            console.show(
                f"Skipped {n_duplicates} duplicate {'run' if n_duplicates == 1 else 'runs'}."
            )
        check_paired(distinct)
        runs = averaged(distinct, arguments.average) if arguments.average else distinct
        metric = choose_metric(runs, arguments.metric)
        named, ranking = _rank(reader, runs, metric, arguments)
    counts = {len(run.run_ids) for run in runs}
    if len(counts) > 1:
        console.show(f"Averages are of {min(counts)} to {max(counts)} runs, not of equally many")
    console.show(*compare_tables(ranking, named))
    console.show(f"{conclusion(ranking)}\n")
    if arguments.json:
        numbers = json.dumps(as_dict(ranking, named), indent=1, allow_nan=False)
        write_atomically(arguments.json, lambda path: path.write_text(f"{numbers}\n"))
        console.show_file("Numbers", arguments.json)
    with console.waiting("drawing"), heavy_imports():
        from pipeline.report.paired_differences import ranking_figure

        path = arguments.figure or _figure_path(ranking, named)
        write_atomically(path, ranking_figure(ranking).savefig)
    console.show_file("Figure", path)


def _rank(
    reader: "RunReader", runs: Sequence["RunScores"], metric: str, arguments: argparse.Namespace
) -> tuple[dict[str, "RunScores"], "Ranking"]:
    """Rank the runs, and return them by the names to show."""
    import numpy as np

    from pipeline.comparison import best, brief_names, rank
    from pipeline.scoring import lower_is_better

    sizes = reader.fold_sizes(runs[0].run_ids[0])
    chosen = best(runs, metric)
    named = dict(zip(brief_names(chosen), chosen, strict=True))
    scores = {
        name: np.mean([reader.fold_scores(it, metric, len(sizes)) for it in run.run_ids], axis=0)
        for name, run in named.items()
    }
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
    except ValueError as error:  # too few folds
        raise UserError(f"--metric: {error} A single split cannot be judged.") from error
    return named, ranking


def _figure_path(ranking: "Ranking", named: Mapping[str, "RunScores"]) -> Path:
    """Return where the figure of these runs goes, unless told."""
    run_ids = sorted(run_id for run in named.values() for run_id in run.run_ids)
    digest = sha256(" ".join(run_ids).encode()).hexdigest()[:8]
    return mlruns() / "compare" / f"{ranking.metric}-{len(named)}-{digest}.png"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
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
