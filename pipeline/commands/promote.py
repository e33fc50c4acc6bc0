"""Register the final model of a run and give it an alias, unless the present holder is better."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.command_line import (
    add_run_argument,
    add_threshold_arguments,
    make_command_parser,
    parse,
    run,
)
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.mlflow_variables import REGISTRY_URI, registry_uri
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.comparison import Contender, Judgement
    from pipeline.tracking import RunReader
    from pipeline.tracking.registry import ModelVersion

NOT_PROMOTED = 3  # exit code if the alias stays where it is


def main(argv: Sequence[str]) -> int:
    """Promote the run that the arguments name and return the exit code."""
    return run(lambda: _promote(*parse(make_parser(), argv)))


def _promote(arguments: argparse.Namespace, tracking: TrackingConfig) -> int:
    with heavy_imports():
        from pipeline import comparison, console
        from pipeline.comparison.rescoring import (
            choose_new_thresholds,
            predicted_rates,
            to_contender,
        )
        from pipeline.errors import mask
        from pipeline.tracking import RunReader, check_store, final_models, locate, registry

    def judge(reader: "RunReader", challenger: "Contender", present: "ModelVersion") -> "Judgement":
        try:
            run = reader.one(present.run_id)
            thresholds = final_models.read_choice(present.model_id)
        except UserError as error:
            return comparison.Judgement("incomparable", f"{present} cannot be compared: {error}")
        champion = to_contender(run, thresholds)
        return comparison.judge(reader, challenger, champion, arguments.metric)

    store, alias = locate(tracking), arguments.alias
    with console.waiting("reading the runs"):
        check_store(store)
        reader = RunReader(store)
        if other_registry := registry_uri():
            console.show(f"Model registry of {REGISTRY_URI}: {mask(other_registry)}")
        model = final_models.find_final_model(reader, arguments.run)
        name = registry.default_name(model.run) if arguments.name is None else arguments.name
        registry.check_name(name)
        present = registry.find_version(name, alias)
        registry.check_schema(model, name, present or registry.find_version(name))
        thresholds = choose_new_thresholds(model, arguments.threshold, arguments.threshold_metric)
        challenger = to_contender(model.run, thresholds)
        final = final_models.find_copy(model, thresholds) if thresholds else model
        is_champion = present is not None and final is not None and present.is_of(final)
        reason = f"The first {alias} of this name."
        if present and not is_champion:
            judgement = judge(reader, challenger, present)
            reason = judgement.reason
    notes = []
    if thresholds:
        notes = [thresholds.describe(), challenger.describe_scoring()]
        console.show(*notes)
    if present and is_champion:
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
        if thresholds and final is None:
            rates = predicted_rates(model.run, thresholds)
            final = final_models.log_copy(model, thresholds, rates, notes[0])
        assert final
        scores = comparison.describe_scores(reader, challenger)
        facts = [reason, *notes, *scores, registry.describe_origin(model)]
        present = registry.register(final, name, "\n".join(facts))
        registry.set_alias(present, alias)
        console.show(f"{present} (run {present.run_id}) is now the {alias}.")
    same = f"models:/{present.model_id}" if thresholds else f"runs:/{present.run_id}/model"
    console.show(
        "Load it in Python, from any folder:",
        "  import mlflow",
        f'  mlflow.set_tracking_uri("{mask(store.uri)}")',
        *([f'  mlflow.set_registry_uri("{mask(other_registry)}")'] if other_registry else []),
        f'  model = mlflow.pyfunc.load_model("models:/{name}@{alias}")',
        f"The same model, whatever is promoted later: {same}",
    )
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "promote",
        "Register the final model of a run in MLflow and give it the alias champion. The present "
        "champion is compared with it fold by fold first, and stays if it is significantly better.",
        "Exit code 3: the alias stays where it is.",
    )
    add_run_argument(parser)
    add = parser.add_argument
    add("--name", help="name of the registered model (default: of the data set)")
    add("--alias", type=_alias, default="champion", help="alias to give (default: champion)")
    add("--metric", help="metric to compare by (default: the headline)")
    add_threshold_arguments(parser)
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
