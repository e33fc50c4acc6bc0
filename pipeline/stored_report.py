"""Draw the figures and the page of a finished run from what it stored."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipeline.checks import Finding
from pipeline.config import Config, parse_config, recompose, restore_path
from pipeline.cv import OUTER, Split, split_digest
from pipeline.decision import DecisionRule
from pipeline.errors import UserError
from pipeline.evaluation import EvaluationInputs, load_inputs
from pipeline.evaluation.fold_results import Evaluation, FoldResult, OuterFold, summarise_folds
from pipeline.report.artifacts import (
    CHECKS,
    PAGE,
    TABLES,
    WARNINGS,
    write_label_figure,
    write_report,
)
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import LOSSES, TRAINING
from pipeline.scoring import short_name
from pipeline.scoring.held_out import OUTER_FOLDS
from pipeline.tracking import (
    RunReader,
    RunRecord,
    Store,
    TrackedRun,
    has_artifact,
    open_artifact,
    read_held_out,
    read_importance,
)

DIGESTS = ("data_digest", "split_digest")  # tags


def log_report(reader: RunReader, run: RunRecord, everything: bool = True) -> None:
    """Draw the figures and the page of a run and log them to it, as `draw_report` does."""
    with TemporaryDirectory() as folder:
        draw_report(reader, run, Path(folder), everything)
        TrackedRun(run.run_id).log_files(Path(folder))


def log_best_report(store: Store, run_id: str) -> list[str]:
    """Log the report of the best job of a sweep, unless it has one or its settings want none.

    Returns:
        A message if it cannot be drawn.
    """
    reader = RunReader(store)
    run = reader.one(run_id)
    in_sweep, *draws = (run.params.get(f"report.{key}") for key in ("in_sweep", "figures", "html"))
    if in_sweep != "best" or "True" not in draws or has_artifact(run_id, PAGE):
        return []
    try:
        log_report(reader, run, everything=False)
    except UserError as error:
        return [f"The figures of the best job are not drawn: {error}"]
    return []


def draw_report(reader: RunReader, run: RunRecord, folder: Path, everything: bool = True) -> None:
    """Draw the figures and write the page of a run, as the run itself would have.

    The data set is loaded again, by its own code if Python code made it.

    Args:
        reader: Reader of the store in use.
        run: The finished run.
        folder: An empty folder.
        everything: Draw both, whatever the settings of the run say.

    Raises:
        UserError: If the run has not finished, was logged by a version that stored too little, or
            its data or folds are not the same now.
    """
    if run.status != "FINISHED":
        raise UserError(f"Expected a finished run. Received: {run.run_id}, {run.status}.")
    if not has_artifact(run.run_id, TRAINING):
        raise UserError(
            f"Expected a run with the file {TRAINING}. Received: {run.run_id}, of a version of "
            "Manyfold that did not store it. `manyfold reproduce` runs it again."
        )
    config = _read_config(reader, run)
    if everything:
        config = replace(config, report=replace(config.report, figures=True, html=True))
    inputs = load_inputs(config)
    _check_unchanged(run, inputs)
    tables, findings, warnings = _read_tables(run)
    folds = _read_folds(config, tables[0], inputs.splits, run)
    evaluation = Evaluation(
        config=config,
        dataset=inputs.dataset,
        folds=folds,
        summary=summarise_folds(config, folds),
        final=None,
        warnings=warnings,
        outer=_read_outer_folds(config, inputs, run),
    )
    if config.report.figures:
        write_label_figure(folder, inputs.summary)
    info = RunInfo.of(run, config.tracking.experiment_name)
    importance = read_importance(run.run_id)
    write_report(folder, evaluation, inputs.summary, info, tables[1], findings, importance)


def _read_config(reader: RunReader, run: RunRecord) -> Config:
    """Return the configuration of a run, with the path that its data had."""
    composed = recompose(reader.read_text(run.run_id, "config.yaml"), ())
    restore_path(composed, reader.dataset_path(run.run_id))
    return parse_config(composed)


def _check_unchanged(run: RunRecord, inputs: EvaluationInputs) -> None:
    digests = {"data": inputs.dataset.digest, "folds": split_digest(inputs.splits)}
    for name, tag in zip(digests, DIGESTS, strict=True):
        if run.tags.get(tag) != digests[name]:
            raise UserError(
                f"Expected the {name} of run {run.run_id}. Received: others, as the file or the "
                "program has changed since. `manyfold reproduce` shows what differs."
            )


def _read_tables(run: RunRecord) -> tuple[list[pd.DataFrame], list[Finding], tuple[str, ...]]:
    """Return the tables of folds and labels, the findings, and the warnings of the training."""
    names = (*TABLES, CHECKS, WARNINGS)
    with ExitStack() as stack:
        paths = [stack.enter_context(open_artifact(run.run_id, name)) for name in names]
        *tables, checks, warnings = (json.loads(path.read_text("utf-8")) for path in paths)
    rows = [dict(zip(checks["columns"], row, strict=True)) for row in checks["data"]]
    findings = [Finding(row["code"], row["message"], row["remedy"]) for row in rows]
    frames = [pd.DataFrame(table["data"], columns=table["columns"]) for table in tables]
    return frames, findings, tuple(warnings)


def _read_folds(
    config: Config, scores: pd.DataFrame, splits: Sequence[Split], run: RunRecord
) -> tuple[FoldResult, ...]:
    """Return the folds that the run trained, in the order of its tables."""
    with open_artifact(run.run_id, TRAINING) as path:
        training = pd.read_parquet(path).to_dict("records")
    by_id = {(split.repeat, split.fold): split for split in splits}
    held_out = read_held_out(run.run_id)
    metrics = [short_name(name) for name in config.scoring.metrics]
    folds = []
    for row, learnt in zip(scores.to_dict("records"), training, strict=True):
        fold_id = (row["repeat"], row["fold"])
        entries = (held_out.fold == fold_id).all(axis=1)
        folds.append(
            FoldResult(
                split=by_id[fold_id],
                y_score=held_out.y_score[entries],
                y_pred=held_out.y_pred[entries],
                rule=DecisionRule(learnt["temperature"], learnt["threshold"]),
                scores={name: float(row[name]) for name in metrics},
                n_undefined_labels={
                    name: int(n) for name in metrics if (n := row.get(f"{name}_left_out"))
                },
                **{name: learnt[name] for name in LOSSES},
                seconds=row["seconds"],
            )
        )
    return tuple(folds)


def _read_outer_folds(
    config: Config, inputs: EvaluationInputs, run: RunRecord
) -> tuple[OuterFold, ...]:
    """Return the scores in the outer folds, without those of the folds within them."""
    splits = {(it.repeat, it.fold): it for it in inputs.nested_splits if it.prefix == OUTER}
    if not splits:
        return ()
    with open_artifact(run.run_id, OUTER_FOLDS) as path:
        table = json.loads(path.read_text("utf-8"))
    rows = pd.DataFrame(table["data"], columns=table["columns"]).to_dict("records")
    metrics = [short_name(name) for name in config.scoring.metrics]
    return tuple(
        OuterFold(
            split=splits[row["repeat"], row["fold"]],
            scores={name: float(row[name]) for name in metrics},
            inner={},
            n_undefined_labels={},
        )
        for row in rows
    )
