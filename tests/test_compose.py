"""Invalid configurations are rejected with exact messages and exit code 2, before training."""

import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass

import pytest
from omegaconf import OmegaConf

from pipeline.config import schema, schema_data
from pipeline.config.compose import parse_config
from pipeline.config.schema import Config
from pipeline.config.serialization import flatten, to_yaml
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR
from tests.command_runner import CommandRunner

MESSAGES = {
    "model.hiden_units=[3]": "model.hiden_units: no such key. Did you mean 'hidden_units'?",
    "modle=mlp": "modle: no such key. Did you mean 'model'?",
    "model=mpl": "model: no such option 'mpl'. Did you mean 'mlp'? Available: boosting, catboost,",
    "experiment=none_such": "experiment: no such option 'none_such'. Available:",
    "+model.foo=3": "model.foo: no such key. Available: activation,",
    "dataset.path=x": "dataset.path: no such key. It belongs to dataset=arff, dataset=npz, ",
    "training.foo.bar=1": "training.foo: no such key.",
    "model.hidden_units=[3": "Configuration refused: ",
    "cv.n_splits=abc": "cv.n_splits: expected a valid integer. Received: 'abc'",
    "cv.n_splits=2.5": "cv.n_splits: expected a valid integer. Received: 2.5",
    "cv.n_splits=1": "cv.n_splits: expected a value greater than or equal to 2. Received: 1",
    "cv.n_splits=1001": "cv.n_splits: expected at most the number of rows, 1000. Received: 1001",
    "training.epochs=0": "training.epochs: expected a value greater than 0. Received: 0",
    "training.learning_rate=-1": "training.learning_rate: expected a value greater than 0.",
    "training.learning_rate=inf": "training.learning_rate: expected a finite number.",
    "training.batch_size=true": "training.batch_size: expected a valid integer. Received: True",
    "model.hidden_units=[0]": "model.hidden_units.0: expected a value greater than 0. Received: 0",
    "model.dropout=1": "model.dropout: expected a value less than 1. Received: 1",
    "model.activation=3": "model.activation: unknown name '3'",
    "model.kind=tree": "model.kind: unknown kind 'tree'. Did you mean 'resnet'? Available: ",
    "decision.threshold=1": "expected a number between 0 and 1, or global or per_label or",
    "decision.threshold_metric=f1": "decision.threshold_metric: unknown name 'f1'",
    "scoring.metrics=[acuracy]": "unknown name 'acuracy'. Did you mean 'accuracy'?",
    "scoring.metrics=[math.dist]": "Add 'scoring.greater_is_better={dist: true}' if higher values",
    "scoring.greater_is_better={accuracy: true}": "Received: 'accuracy'. Others need no direction.",
    "model=null": "model=null: leave out a group with ~model",
    "seed=-1": "seed: expected a value greater than or equal to 0. Received: -1",
    "dataset=arff": "dataset.path: missing. Give it as dataset.path=...",
    "dataset.predict_rows=[[1,2]]": "dataset.predict_rows: expected rows of 10 features.",
}


@pytest.mark.parametrize("argument", MESSAGES)
def test_an_invalid_argument_is_rejected_with_a_message(tmp_path, argument):
    _, err = CommandRunner(tmp_path).run_here(argument, code=2)
    assert MESSAGES[argument] in err
    assert "Traceback" not in err


@pytest.mark.parametrize("argument", ["modle=mlp", "model.hidden_units=[3", "cv.n_splits=1001"])
def test_a_process_with_an_invalid_argument_prints_its_message_alone(tmp_path, argument):
    out, err = CommandRunner(tmp_path).run(argument, code=2)
    assert MESSAGES[argument] in err
    assert "Traceback" not in out + err


def test_all_invalid_values_are_reported_at_once(make_config):
    with pytest.raises(UserError) as caught:
        make_config("training.epochs=0", "cv.n_splits=1", "model.dropout=2")
    assert all(key in str(caught.value) for key in ("epochs", "n_splits", "dropout"))


def test_the_default_is_the_tutorials_recipe(make_config):
    flat = flatten(make_config())
    expected = {
        "dataset.n_samples": "1000",
        "cv.n_splits": "10",
        "cv.n_repeats": "3",
        "cv.random_state": "1",
        "preprocessing.scaling": "none",
        "model.hidden_units": "[20]",
        "model.activation": "relu",
        "model.kernel_initializer": "he_uniform",
        "training.optimizer": "adam",
        "training.learning_rate": "0.001",
        "training.epochs": "100",
        "training.batch_size": "32",
        "decision.threshold": "0.5",
    }
    assert expected.items() <= flat.items()


def test_settings_of_a_scikit_learn_model_omit_training_keys_without_effect(make_config):
    config = make_config("model=random_forest")
    keys = {key for key in flatten(config) if key.startswith("training.")}
    assert keys == {"training.class_weight", "training.n_threads"}
    assert parse_config(OmegaConf.create(to_yaml(config))) == config


def test_yaml_reads_back_as_the_same_configuration(make_config):
    config = make_config("model.hidden_units=[64,32]", "training.optimizer_params={clipnorm: 1.0}")
    assert parse_config(OmegaConf.create(to_yaml(config))) == config


TYPED = {
    "model=logistic +model.params.class_weight": {0: 1, 1: 5},
    "model=sklearn model.estimator=m.g model.params": {
        "a": {0.5: [{True: {7: "x"}}], False: 2},
        "b c": None,
    },
    "model=sklearn model.estimator=m.f model.params": {"weights": [{1: 2.5}, {-1: {}}]},
    "model=keras model.builder=m.f model.params": {"widths": {8: {4: 2}}, "01": {1: "0"}},
    "training.optimizer_params": {"by_step": {0: 0.1, 1000: 0.01}},
    "training.lr_schedule_params": {"values": {10: 1e-3}},
    "model=sklearn model.estimator=m.f model.chain_params": {"order": {0: 1}},
    "dataset=python dataset.loader=m.f +dataset.params.codes": {1: "a", 2: "b"},
}


def in_hydras_grammar(value):
    if isinstance(value, dict):
        items = ", ".join(f"{key}: {in_hydras_grammar(item)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(in_hydras_grammar, value))}]"
    return "null" if value is None else repr(value)


@pytest.mark.parametrize("setting", TYPED)
def test_the_keys_of_mappings_keep_their_types(make_config, setting):
    *options, key = setting.split()
    config = make_config(*options, f"{key}={in_hydras_grammar(TYPED[setting])}")
    again = parse_config(OmegaConf.create(to_yaml(config)))
    for each in (config, again):
        value = each
        for name in key.removeprefix("+").split("."):
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        assert repr(value).replace("'", '"') == repr(TYPED[setting]).replace("'", '"')
    assert again == config


def test_mappings_with_other_keys_than_names_are_one_param(make_config):
    def params(weights):
        flat = flatten(make_config("model=logistic", f"+model.params.class_weight={weights}"))
        return {key: flat[key] for key in flat if key.startswith("model.params.cl")}

    key = "model.params.class_weight"
    assert params("{1: 5, 0: 1}") == params("{0: 1, 1: 5}") == {key: "{0: 1, 1: 5}"}
    assert params("{a: 1, b: {2: 3}}") == {f"{key}.a": "1", f"{key}.b": "{2: 3}"}
    assert params("{a@b: [{2: 3, 1: 4}]}") == {key: "{'a@b': [{1: 4, 2: 3}]}"}
    assert params("{true: 1}") == {key: "{True: 1}"}
    assert params("{x/../y: 1}") == {key: "{'x/../y': 1}"}


def test_numbers_are_no_names_of_parameters(make_config):
    with pytest.raises(UserError, match=r"model\.params: expected names as keys\. Received: 0"):
        make_config("model=keras", "model.builder=m.f", "model.params={0: 64}")


def test_a_data_set_may_override_the_preprocessing_and_the_user_both(make_config):
    arff = ("dataset=arff", "dataset.path=x")
    assert make_config().preprocessing.scaling == "none"
    assert make_config("preprocessing=standard").preprocessing.scaling == "standard"
    assert make_config(*arff).preprocessing.scaling == "standard"
    assert make_config(*arff, "preprocessing=none").preprocessing.scaling == "none"


def test_groups_have_folders_of_their_names_and_defaults_are_there_alone():
    settings = {field.name for field in fields(Config)} - {"seed", "resume"}
    folders = {path.name for path in CONF_DIR.iterdir() if path.is_dir()}
    assert folders == settings | {"experiment", "search_space", "hydra"}
    schemas = [
        schema_class for module in (schema, schema_data) for schema_class in vars(module).values()
    ]
    optional = {
        (schema_class.__name__, field.name)
        for schema_class in schemas
        if is_dataclass(schema_class) and schema_class.__module__.startswith("pipeline.")
        for field in fields(schema_class)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    assert optional == {("Config", "racing")}  # a group without an option by default


@pytest.mark.parametrize(
    "model", ["mlp", "tabm", "resnet", "mlp_plr", "logistic", "xgboost", "lightgbm", "catboost"]
)
def test_any_model_can_be_chosen_in_an_experiment(make_config, model):
    in_experiment = make_config("experiment=yeast", "dataset.path=yeast.arff", f"model={model}")
    alone = make_config(f"model={model}")
    if model in ("mlp", "tabm"):
        assert in_experiment.model.hidden_units == (256, 128) != alone.model.hidden_units
    else:
        assert in_experiment.model == alone.model
    assert in_experiment.training.epochs == 40


def test_experiments_have_the_network_of_their_results(make_config):
    for experiment, units, dropout in (
        ("emotions", (64,), 0.3),
        ("birds", (128,), 0.5),
        ("yeast", (256, 128), 0.5),
    ):
        config = make_config(f"experiment={experiment}", "dataset.path=t.arff")
        assert (config.model.hidden_units, config.model.dropout) == (units, dropout)


def test_every_yaml_file_begins_with_a_comment():
    for path in CONF_DIR.rglob("*.yaml"):
        lines = path.read_text().removeprefix("# @package _global_\n")
        assert lines.startswith("# "), path


@pytest.mark.parametrize("arguments", [("--cfg", "job"), ("--help",), ("-sc", "query=bash")])
def test_help_and_completion_import_nothing_heavy(arguments):
    program = (
        "import sys; from pipeline.command_line import train\n"
        "try: train()\n"
        "finally: print({'tensorflow', 'mlflow', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"COMP_LINE": "manyfold mod", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.strip().endswith("set()")
