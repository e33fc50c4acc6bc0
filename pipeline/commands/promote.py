"""Register the final model of a run and give it the alias `champion`."""

import argparse
from collections.abc import Sequence

from pipeline.command_line import parse, run
from pipeline.config import TrackingConfig
from pipeline.runtime import heavy_imports


def main(argv: Sequence[str]) -> int:
    """Promote the run that the arguments name and return the exit code."""
    return run(lambda: _promote(*parse(make_parser(), argv)))


def _promote(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.scoring import MetricSummary, describe_metric
        from pipeline.tracking import RunRecord, locate
        from pipeline.tracking.logged_model import promote

    def describe_scores(run: RunRecord) -> str:
        metric = run.tags.get("headline")
        if not metric:  # a run of another program
            return ""
        return describe_metric(metric, MetricSummary.from_metrics(metric, run.metrics))

    model = promote(locate(tracking), arguments.run, arguments.name, describe_scores)
    console.show(
        f"{model.name} version {model.version} (run {model.run_id}) is now the champion. Load it "
        "with",
        f'  mlflow.pyfunc.load_model("{model.uri}")',
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="manyfold promote",
        description="Register the final model of a run in MLflow and give it the alias champion.",
        epilog="Settings: tracking.uri=... names another MLflow store.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="name or id of a run, the start of its id, or a sweep: its best run",
    )
    parser.add_argument("--name", help="name of the registered model (default: of the data set)")
    return parser
