"""Describe a data set before training."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import attempt, hydra_command
from pipeline.runtime import heavy_imports, mlruns, write_atomically

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.config import CvConfig
    from pipeline.dataset import Dataset, DataSummary


def main(words: Sequence[str]) -> int:
    """Describe the data set that the settings name and return the exit code.

    Args:
        words: The settings; Hydra reads them from the command line itself.
    """
    return hydra_command(lambda composed, _: attempt(lambda: _describe(composed)), "describe")


def _describe(composed: "DictConfig") -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.config import parse_config
        from pipeline.console.dataset_tables import describe_dataset
        from pipeline.dataset import load, summarise

    config = parse_config(composed)
    with console.waiting("reading the data"):
        dataset = load(config.dataset)
        summary = summarise(dataset)
    console.show_shape(summary)
    console.show(*describe_dataset(dataset, summary))
    console.show_duplicates(summary)
    console.show_warnings(dataset)
    _show_folds(config.cv, dataset)
    with console.waiting("drawing the labels"):
        path = draw(summary, mlruns() / "describe")
    console.show_file("Figure", path)


def draw(summary: "DataSummary", folder: Path) -> Path:
    """Write the figure of label frequencies into a folder and return its path."""
    from pipeline.report.label_frequencies import labels_png

    name = re.sub(r"[^\w.-]+", "_", summary.name)
    path = folder / f"{name}.png"
    write_atomically(path, lambda temporary: temporary.write_bytes(labels_png(summary)))
    return path


def _show_folds(config: "CvConfig", dataset: "Dataset") -> None:
    from pipeline import console
    from pipeline.cv import check_splits, make_splits
    from pipeline.errors import UserError

    try:
        splits = make_splits(config, dataset)
    except UserError as error:
        console.show(f"These folds are not possible. {error}")
        return
    split_warnings = check_splits(config, dataset, splits)
    console.show_split_warnings(split_warnings)
    if not split_warnings:
        console.show(f"Folds: every label trains and tests in all {len(splits)} (cv={config.kind})")
