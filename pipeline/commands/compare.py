"""Compare finished runs fold by fold."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line import (
    between_zero_and_one,
    make_command_parser,
    parse,
    parse_number,
    run,
)
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports, mlruns, write_atomically

if TYPE_CHECKING:
    from pipeline.comparison import RunScores

LABEL_METRICS = ("f1", "average_precision", "roc_auc")
FIGURES = (".pdf", ".png", ".svg")
MAX_NAMED = 3  # unfinished runs of each status


def main(argv: Sequence[str]) -> int:
    """Compare the runs that the arguments name and return the exit code."""
    return run(lambda: _compare(*parse(make_parser(), argv)))


def _compare(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import comparison, console
        from pipeline.console.label_tables import as_numbers, label_tables
        from pipeline.console.ranking_tables import as_dict, compare_tables
        from pipeline.report.label_advantages import write_label_differences
        from pipeline.report.paired_differences import write_ranking
        from pipeline.tracking import RunReader, locate

    _check_options(arguments)
    with console.waiting("reading the runs"):
        reader = RunReader(locate(tracking))
        named_runs = reader.find(arguments.runs)
        if named_runs.skipped:
            console.show(f"Skipped unfinished runs: {_list_skipped(named_runs.skipped)}.")
        all_runs = [comparison.to_run_scores(record) for record in named_runs.runs]
        distinct = comparison.drop_duplicates(all_runs)
        if n_duplicates := len(all_runs) - len(distinct):
            plural = "" if n_duplicates == 1 else "s"
            console.show(f"Skipped {n_duplicates} duplicate run{plural}.")
        if arguments.across:
            _compare_across(arguments, distinct)
            return
        ranking, named = comparison.rank_paired_runs(
            comparison.make_names_unique(distinct),
            reader.fold_sizes,
            reader.fold_scores,
            metric=arguments.metric,
            average="" if arguments.seeds else arguments.average,
            alpha=arguments.alpha,
            rope=arguments.rope,
        )
        differences = []
        if arguments.labels:
            differences = comparison.compare_stored_labels(
                ranking, named, arguments.labels, reader.fold_sizes
            )
    counts = {len(one.run_ids) for one in named.values()}
    if max(counts) > 1:
        averaged = " to ".join(map(str, sorted({min(counts), max(counts)})))
        by_default = "" if arguments.average else "; --seeds compares each seed by itself"
        console.show(
            f"Averaged over {arguments.average or 'seed'}: {averaged} runs each{by_default}."
        )
    console.show(*compare_tables(ranking, named))
    console.show(f"{comparison.describe_conclusion(ranking)}\n")
    if differences:
        console.show(*label_tables(ranking, differences, arguments.labels))
    of_labels = {"labels": [as_numbers(it) for it in differences]} if differences else {}
    run_ids = [run_id for one in named.values() for run_id in one.run_ids]

    def draw(path: Path) -> None:
        if differences:
            write_label_differences(ranking, differences, arguments.labels, path)
        else:
            write_ranking(ranking, path)

    _write(arguments, ranking.metric, run_ids, as_dict(ranking, named) | of_labels, draw)


def _list_skipped(names: Mapping[str, Sequence[str]]) -> str:
    """Return the number of runs of each status, and the names of the first ones."""
    return ", ".join(
        f"{len(runs)} {status} ({'; '.join(runs[:MAX_NAMED])}"
        f"{'; ...' if len(runs) > MAX_NAMED else ''})"
        for status, runs in sorted(names.items())
    )


def _write(
    arguments: argparse.Namespace,
    metric: str,
    run_ids: Sequence[str],
    numbers: dict[str, Any],
    draw: Callable[[Path], None],
) -> None:
    """Write the numbers, if a file is given, and the figure, to the default file if it can be."""
    from pipeline import console

    if arguments.json:
        text = json.dumps(numbers, indent=1, allow_nan=False)
        write_atomically(arguments.json, lambda path: path.write_text(f"{text}\n"))
        console.show_file("Numbers", arguments.json)
    path = arguments.figure or _figure_path(arguments, metric, sorted(run_ids))
    try:
        with console.waiting("drawing"):
            write_atomically(path, draw)
    except UserError as error:
        if arguments.figure:
            raise
        console.show(f"The figure was not written. {error} Name another: --figure FILE")
        return
    console.show_file("Figure", path)


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise UserError if options do not suit each other."""
    if (arguments.markdown or arguments.latex) and not arguments.across:
        raise UserError("--markdown and --latex: expected --across beside them.")
    if arguments.across and (arguments.labels or arguments.average or arguments.seeds):
        raise UserError(
            "--across: expected none of --labels, --average and --seeds. Configurations are "
            "averaged over their seeds."
        )


def _compare_across(arguments: argparse.Namespace, runs: "list[RunScores]") -> None:
    """Compare configurations over the data sets of their runs."""
    from pipeline import console
    from pipeline.comparison import choose_metric
    from pipeline.comparison.across_datasets import compare_across
    from pipeline.console.across_tables import across_tables, as_dict, markdown_or_latex
    from pipeline.report.critical_difference import write_critical_difference
    from pipeline.scoring import lower_is_better, own_directions

    metric = choose_metric(runs, arguments.metric)
    across = compare_across(
        runs,
        metric,
        lower_is_better=lower_is_better(metric, own_directions(runs[0].settings)),
        alpha=arguments.alpha,
        rope=arguments.rope,
    )
    console.show(*across_tables(across))
    console.show(*markdown_or_latex(across, (arguments.markdown, arguments.latex)))
    run_ids = [run.run_ids[0] for run in runs]
    draw = partial(write_critical_difference, across)
    _write(arguments, metric, run_ids, as_dict(across), draw)


def _figure_path(arguments: argparse.Namespace, metric: str, run_ids: Sequence[str]) -> Path:
    """Return the default path of a figure, which depends on the runs and options."""
    settings = (arguments.alpha, arguments.rope, arguments.average, arguments.seeds)
    options = (*settings, arguments.labels or "", arguments.across, *run_ids)
    digest = sha256(" ".join(map(str, options)).encode()).hexdigest()[:8]
    return mlruns() / "compare" / f"{metric}-{len(run_ids)}-{digest}.png"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "compare",
        "Compare the scores of finished runs fold by fold, and test which differences are "
        "significant.",
    )
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        metavar="SWEEP|RUN",
        help="name or id of a run, the start of its id, or a sweep: all its finished runs",
    )
    add("--metric", help="metric to compare (default: the headline, the first of scoring.metrics)")
    add(
        "--rope",
        type=_at_least_zero,
        default=0.01,
        help="differences up to this size do not matter in practice (default: 0.01)",
    )
    add(
        "--alpha",
        type=between_zero_and_one,
        default=0.05,
        help="accepted chance of a single false difference among all pairs (default: 0.05)",
    )
    averaging = parser.add_mutually_exclusive_group()
    averaging.add_argument(
        "--average",
        metavar="KEY",
        help="average runs that differ only in this setting (default: seed)",
    )
    averaging.add_argument("--seeds", action="store_true", help="compare each seed by itself")
    add(
        "--labels",
        choices=LABEL_METRICS,
        metavar="METRIC",
        help="also compare two configurations label by label, by f1, average_precision or roc_auc",
    )
    add(
        "--across",
        action="store_true",
        help="compare configurations over the data sets of the runs: mean ranks and tests",
    )
    add("--markdown", action="store_true", help="with --across: print the table in Markdown")
    add("--latex", action="store_true", help="with --across: print the table for LaTeX")
    add("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    add(
        "--figure",
        type=_figure,
        metavar="FILE",
        help="file of the figure: .png, .svg or .pdf (default: under mlruns/compare)",
    )
    return parser


def _at_least_zero(text: str) -> float:
    value = parse_number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0. Received: {text}")
    return value


def _figure(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FIGURES:
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in one of {', '.join(FIGURES)}. Received: {text}"
        )
    return path
