"""Cross-validate every kind of model on four tables, and print the results as tables.

`python -m benchmarks.models FOLDER CELLS` evaluates each model on each table in 5 folds. FOLDER has
emotions, yeast and birds, as MULAN's ARFF and XML files. Each result is added to CELLS, a file of
JSON lines, so that an interrupted benchmark continues there. Nothing is tuned: a model has the same
settings on all tables. Networks and trees stop early on a tenth of the training rows of each fold.
Seconds are processor time of all threads and processes, which other programs on the machine change
little. docs/models.md has the tables.
"""

import argparse
import json
import os
import resource
from importlib import import_module
from pathlib import Path
from typing import Any

from joblib.externals.loky import get_reusable_executor

from benchmarks.tutorial import compose_config
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.inputs import load_inputs
from pipeline.runtime import heavy_imports

FOLDS = ("cv.n_splits=5", "cv.n_repeats=1")
STRATIFIED = ("dataset=arff", "cv=multilabel_stratified")
TABLES = {
    "default": (),
    "emotions": (*STRATIFIED, "dataset.path={folder}/emotions.arff"),
    "birds": (*STRATIFIED, "dataset.path={folder}/birds.arff"),
    "yeast": (*STRATIFIED, "dataset.path={folder}/yeast.arff"),
}
NETWORK = (
    *("training.optimizer=adamw", "training.epochs=100", "training.batch_size=64"),
    "training.early_stopping.patience=10",
)
TREES = ("training.early_stopping.patience=20",)
MODELS = {
    "dummy": (),
    "logistic": (),
    "random_forest": (),
    "hist_gradient_boosting": (),
    "xgboost": TREES,
    "lightgbm": TREES,
    "catboost": TREES,
    "mlp": (*NETWORK, "model.hidden_units=[128,128]", "model.dropout=0.3"),
    "resnet": NETWORK,
    "mlp_plr": NETWORK,
    "tabm": (*NETWORK, "training.learning_rate=0.002"),
}
METRICS = {
    "accuracy": "Accuracy",
    "f1_micro": "F1 micro",
    "f1_macro": "F1 macro",
    "label_ranking_average_precision": "LRAP",
    "roc_auc_macro": "ROC AUC macro",
}


def processor_seconds() -> float:
    """Return the processor time so far, of this process and those that it started."""
    get_reusable_executor().shutdown(wait=True)  # else the time of its processes does not count
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def evaluate(table: str, model: str, folder: str) -> dict[str, Any]:
    """Return the mean of each metric over the folds, and the processor time of all fits."""
    settings = [setting.format(folder=folder) for setting in TABLES[table]]
    metrics = f"scoring.metrics=[{','.join(METRICS)}]"
    config = compose_config(
        *settings, *FOLDS, f"model={model}", *MODELS[model], metrics, "dataset.predict_rows=[]"
    )
    inputs = load_inputs(config)
    load, began = os.getloadavg()[0], processor_seconds()
    evaluator = Evaluator(config, inputs.dataset, list(inputs.splits))
    for _ in evaluator.folds(lambda n: None):
        pass
    seconds = processor_seconds() - began
    summary = evaluator.evaluation().summary
    scores = {name: [summary[name].mean, summary[name].std] for name in METRICS}
    return {"table": table, "model": model, "scores": scores, "seconds": seconds, "load": load}


def format_table(cells: list[dict[str, Any]], table: str) -> str:
    """Return a table of Markdown: one row per model, the best score of each metric in bold."""
    rows = {cell["model"]: cell for cell in cells if cell["table"] == table}
    lines = [f"| {' | '.join(['model', *METRICS.values(), 'CPU seconds', 'x MLP'])} |"]
    lines.append("|---" * (len(METRICS) + 3) + "|")
    for model in filter(rows.__contains__, MODELS):
        cell, texts = rows[model], []
        for name in METRICS:
            mean = cell["scores"][name][0]
            best = max(round(row["scores"][name][0], 3) for row in rows.values())
            texts.append(f"**{mean:.3f}**" if round(mean, 3) == best else f"{mean:.3f}")
        ratio = cell["seconds"] / rows["mlp"]["seconds"]
        texts += [format(cell["seconds"], ".0f"), format(ratio, ".2g")]
        lines.append(f"| {' | '.join([f'`{model}`', *texts])} |")
    loads = [cell["load"] for cell in rows.values()]
    lines.append(f"\nLoad of the machine at the starts: {min(loads):.1f} to {max(loads):.1f}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="folder of the ARFF files")
    parser.add_argument("cells", type=Path, help="file of finished results, as JSON lines")
    arguments = parser.parse_args()
    arguments.cells.touch()
    with heavy_imports():  # else the first network would pay for them
        import_module("pipeline.training.keras_trainer")
        import_module("pipeline.training.sklearn_trainer")
    cells = [json.loads(line) for line in arguments.cells.read_text().splitlines()]
    finished = {(cell["table"], cell["model"]) for cell in cells}
    for table in TABLES:
        for model in MODELS:
            if (table, model) not in finished:
                cells.append(evaluate(table, model, arguments.folder))
                with arguments.cells.open("a") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
        print(f"\n## {table}\n\n{format_table(cells, table)}", flush=True)


if __name__ == "__main__":
    main()
