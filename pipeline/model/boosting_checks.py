"""Check the configuration of gradient-boosted trees; nothing is trained."""

import inspect
from importlib import import_module
from typing import Any

from pipeline.config import BoostingConfig, TrainingConfig
from pipeline.errors import UserError, is_installed, suggest

SEEDS = ("random_state", "random_seed", "seed")  # names of one parameter
OBJECTIVE = "the loss is binary cross-entropy"
THREADS = "each fit has one thread; training.n_threads sets the number of fits side by side"
STOPPING = "give training.early_stopping.patience"
RESERVED = {
    **dict.fromkeys(("objective", "loss_function", "eval_metric", "metric"), OBJECTIVE),
    **dict.fromkeys(("n_jobs", "nthread", "num_threads", "thread_count"), THREADS),
    **dict.fromkeys(("early_stopping_rounds", "early_stopping_round", "od_wait"), STOPPING),
    **dict.fromkeys(("callbacks", "use_best_model"), STOPPING),
}
"""Parameters that Manyfold sets, and the reason or the key to use."""


def check_model(config: BoostingConfig, training: TrainingConfig) -> None:
    """Raise UserError if the library is missing or does not support the configuration."""
    library, params = config.library, config.params or {}
    if not is_installed(library):
        raise UserError(
            f"model={library}: expected the package {library}. Received: it is not installed. "
            f"Install it: pip install 'manyfold[{library}]', or in a checkout pip install "
            f"'.[{library}]'"
        )
    accepted = _accepted_params(library)
    for name in params:
        if name in RESERVED:
            raise UserError(f"model.params.{name}: expected no such parameter: {RESERVED[name]}.")
        if name not in accepted:
            raise UserError(
                f"model.params.{name}: {config.title} has no such parameter. "
                f"{suggest(name, accepted)}"
            )
    if library == "lightgbm" and config.strategy == "native":
        raise UserError(
            "model.strategy: expected binary_relevance, because a model of LightGBM predicts one "
            "label. Received: native"
        )
    if training.class_weight is not None and config.strategy == "native":
        raise UserError(
            "training.class_weight: expected null with model.strategy=native, because one model "
            f"cannot balance each label. Received: {training.class_weight}. "
            "Set model.strategy=binary_relevance"
        )
    _check_ensemble(config)
    if library == "catboost" and training.early_stopping.min_delta:
        raise UserError(
            "training.early_stopping.min_delta: expected 0, because CatBoost has no such setting. "
            f"Received: {training.early_stopping.min_delta}"
        )


def _accepted_params(library: str) -> frozenset[str]:
    """Return the names of the parameters of a library, with the aliases of LightGBM."""
    module = import_module(library)
    if library == "lightgbm":
        aliases = module.basic._ConfigAliases._get_all_param_aliases()
        return frozenset((*aliases, *(alias for each in aliases.values() for alias in each)))
    model = module.XGBModel if library == "xgboost" else module.CatBoostClassifier
    return frozenset(inspect.signature(model).parameters) - {"kwargs"}


def _check_ensemble(config: BoostingConfig) -> None:
    """Raise UserError if all models of an ensemble would be equal."""
    if config.ensemble_size == 1:
        return
    params = _with_main_names(config)
    expected = f"model.ensemble_size: expected 1, because all {config.ensemble_size} models would "
    for name in SEEDS:
        if name in params:
            raise UserError(
                f"{expected}have the seed model.params.{name}={params[name]} and be equal. Leave "
                "out that parameter: seed=... gives each model a seed of its own"
            )
    if not _depends_on_seed(config.library, params):
        example = "rsm" if config.library == "catboost" else "colsample_bytree"
        raise UserError(
            f"{expected}be equal: model.params samples neither rows nor columns. Type, for "
            f"example: ++model.params.{example}=0.5"
        )


def _with_main_names(config: BoostingConfig) -> dict[str, Any]:
    """Return the parameters, those of LightGBM under the names that their aliases stand for."""
    params = {name: value for name, value in (config.params or {}).items() if value is not None}
    if config.library != "lightgbm":
        return params
    aliases = import_module("lightgbm").basic._ConfigAliases._get_all_param_aliases()
    main = {alias: name for name, others in aliases.items() for alias in others}
    return {main.get(name, name): value for name, value in params.items()}


def _depends_on_seed(library: str, params: dict[str, Any]) -> bool:
    """Return whether the trees depend on the seed, by the defaults of the library and `params`."""

    def is_below_1(*names: str) -> bool:
        return any(params.get(name, 1) < 1 for name in names)

    match library:
        case "xgboost":
            columns = ("colsample_bytree", "colsample_bylevel", "colsample_bynode")
            return is_below_1("subsample", *columns) or params.get("booster") == "dart"
        case "lightgbm":
            rows = ("bagging_fraction", "pos_bagging_fraction", "neg_bagging_fraction")
            strategies = {params.get("boosting"), params.get("data_sample_strategy")}
            return (
                is_below_1("feature_fraction", "feature_fraction_bynode")
                or (params.get("bagging_freq", 0) > 0 and is_below_1(*rows))
                or bool(params.get("extra_trees") or strategies & {"dart", "goss"})
            )
    samples_rows = params.get("bootstrap_type") != "No"
    has_noise = params.get("random_strength", 1) > 0
    return samples_rows or has_noise or is_below_1("rsm", "colsample_bylevel")
