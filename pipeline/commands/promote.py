"""Register the final model of a run and give it an alias, unless the present holder is better."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.command_line import parse, run
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.mlflow_variables import REGISTRY_URI, registry_uri
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.comparison import Judgement
    from pipeline.tracking import RunReader, RunRecord
    from pipeline.tracking.registry import ModelVersion

NOT_PROMOTED = 3  # exit code if the alias stays where it is


def main(argv: Sequence[str]) -> int:
    """Promote the run that the arguments name and return the exit code."""
    return run(lambda: _promote(*parse(make_parser(), argv)))


def _promote(arguments: argparse.Namespace, tracking: TrackingConfig) -> int:
    with heavy_imports():
        from pipeline import comparison, console
        from pipeline.errors import mask
        from pipeline.tracking import RunReader, check_store, locate, registry

    def judge(reader: "RunReader", run: "RunRecord", present: "ModelVersion") -> "Judgement":
        try:
            other = reader.one(present.run_id)
        except UserError as error:
            return comparison.Judgement("incomparable", f"{present} cannot be compared: {error}")
        return comparison.judge(reader, run, other, arguments.metric)

    store, alias = locate(tracking), arguments.alias
    with console.waiting("reading the runs"):
        check_store(store)
        reader = RunReader(store)
        if other_registry := registry_uri():
            console.show(f"Model registry of {REGISTRY_URI}: {mask(other_registry)}")
        model = registry.find_final_model(reader, arguments.run)
        name = registry.default_name(model.run) if arguments.name is None else arguments.name
        registry.check_name(name)
        present = registry.find_version(name, alias)
        registry.check_schema(model, name, present or registry.find_version(name))
        reason = f"The first {alias} of this name."
        if present and present.run_id != model.run.run_id:
            judgement = judge(reader, model.run, present)
            reason = judgement.reason
    if present and present.run_id == model.run.run_id:
        console.show(f"{present} (run {present.run_id}) is the {alias} already.")
    else:
        if present:
            console.show(reason)
            is_worse, is_better = (judgement.verdict == word for word in ("worse", "better"))
            if arguments.if_better and not is_better:
                console.show(f"{present} stays the {alias}, as nothing better was shown.")
                return NOT_PROMOTED
            if is_worse and not arguments.force:
                console.show_error(f"{present} stays the {alias}. --force replaces it.")
                return NOT_PROMOTED
        facts = [reason, *comparison.describe_scores(model.run), registry.describe_origin(model)]
        present = registry.register(model, name, "\n".join(facts))
        registry.set_alias(present, alias)
        console.show(f"{present} (run {present.run_id}) is now the {alias}.")
    console.show(
        "Load it in Python, from any folder:",
        "  import mlflow",
        f'  mlflow.set_tracking_uri("{mask(store.uri)}")',
        *([f'  mlflow.set_registry_uri("{mask(other_registry)}")'] if other_registry else []),
        f'  model = mlflow.pyfunc.load_model("models:/{name}@{alias}")',
        f"The same model, whatever is promoted later: runs:/{present.run_id}/model",
    )
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="manyfold promote",
        description="Register the final model of a run in MLflow and give it the alias champion. "
        "The present champion is compared with it fold by fold first, and stays if it is "
        "significantly better.",
        epilog="Exit code 3: the alias stays where it is. Settings: tracking.uri=... names another "
        "MLflow store.",
    )
    add = parser.add_argument
    add(
        "run",
        metavar="RUN|SWEEP",
        help="name or id of a run, the start of its id, or a sweep: its best run",
    )
    add("--name", help="name of the registered model (default: of the data set)")
    add("--alias", type=_alias, default="champion", help="alias to give (default: champion)")
    add("--metric", help="metric to compare by (default: the headline)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--if-better",
        action="store_true",
        help="replace the present champion only by a significantly better model",
    )
    group.add_argument(
        "--force", action="store_true", help="replace it even by a significantly worse model"
    )
    return parser


def _alias(text: str) -> str:
    """Check an alias before anything is registered, by MLflow's rules."""
    if not re.fullmatch(r"[\w-]{1,256}", text) or re.fullmatch(r"(?i)latest|v\d+", text):
        raise argparse.ArgumentTypeError(
            "expected letters, digits, '-' and '_', other than latest, v1, v2, ... Received: "
            f"{text}"
        )
    return text
