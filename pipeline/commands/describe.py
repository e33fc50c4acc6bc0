"""Describe a data set."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.command_line import run_command
from pipeline.runtime import mlruns

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.config import CvConfig
    from pipeline.dataset import Dataset, DataSummary
    from pipeline.job import Outcome, SweepPosition


def main(arguments: Sequence[str]) -> NoReturn:
    """Describe the data set that the settings name."""
    run_command(_task, "describe")


def _task(composed: "DictConfig", position: "SweepPosition | None") -> "Outcome":
    from pipeline.config import load
    from pipeline.job import attempt

    def describe() -> None:
        config = load(composed)
        from pipeline import console
        from pipeline.console.dataset_tables import describe_dataset
        from pipeline.dataset import load as load_dataset
        from pipeline.dataset import summarise

        with console.waiting("reading the data"):
            dataset = load_dataset(config.dataset)
            summary = summarise(dataset)
        console.show_shape(summary)
        console.show(*describe_dataset(dataset, summary))
        console.show_duplicates(summary)
        console.show_warnings(dataset)
        _show_folds(config.cv, dataset)
        with console.waiting("drawing the labels"):
            path = draw(summary, mlruns() / "describe")
        console.show_file("Figure", path)

    return attempt(describe)


def draw(summary: "DataSummary", folder: Path) -> Path:
    """Write the figure of the labels into the folder and return its path."""
    from pipeline.report.label_frequencies import labels_png

    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "_", summary.name)
    path = folder / f"{name}.png"
    unfinished = folder / f".{name}.part.png"
    unfinished.write_bytes(labels_png(summary))
    return unfinished.replace(path)


def _show_folds(config: "CvConfig", dataset: "Dataset") -> None:
    from pipeline import console
    from pipeline.cv import check_splits, make_splits
    from pipeline.errors import UserError

    try:
        splits = make_splits(config, dataset)
    except UserError as error:
        console.show(f"Folds would be refused. {error}")
        return
    split_warnings = check_splits(config, dataset, splits)
    console.show_split_warnings(split_warnings)
    if not split_warnings:
        console.show(f"Folds: every label trains and tests in all {len(splits)} (cv={config.kind})")
