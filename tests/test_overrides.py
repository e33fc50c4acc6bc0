"""Overrides of a sweep: checks, number of jobs, digest and name."""

import sys
from contextlib import nullcontext

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.hydra_errors import explain_hydra_error
from pipeline.config.quoting import quote
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR
from pipeline.sweeps.overrides import (
    check_constant_settings,
    check_former_names,
    check_shared_settings,
    command_line,
    count_parallel_jobs,
    parse,
    set_joblib_batch_size,
    sweep_name,
)
from pipeline.sweeps.parent_run import plan_sweep


def plan_command(*overrides, **sweeper):
    """Return the plan of a command, its parsed overrides and its configuration."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        own = [override for override in overrides if override.startswith("hydra")]
        config = compose("config", overrides=own, return_hydra_config=True)
        config.hydra.overrides.task = [override for override in overrides if override not in own]
        config.hydra.sweeper.params = sweeper.get("params")
        parsed = parse(config)
        return plan_sweep(config, parsed), parsed, config


@pytest.mark.parametrize(
    ("overrides", "invalid_key"),
    [
        (("training.batch_size=0", "seed=1,2"), "training.batch_size"),
        (("resume=maybe", "seed=1,2"), "resume"),
        (("training.batch_size=0,-1", "seed=1,2"), None),  # each job reports its own value
        (("dataset=table,synthetic", "dataset.path=a.csv"), None),  # the second is valid
        (("training.batch_size=0,8", "seed=1,2"), None),
        (("model=mlp,mpl",), None),  # Hydra reports it
    ],
    ids=str,
)
def test_a_sweep_whose_jobs_are_all_invalid_is_rejected(overrides, invalid_key):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        config.hydra.overrides.task = list(overrides)
        with pytest.raises(UserError, match=invalid_key) if invalid_key else nullcontext():
            check_shared_settings(config, parse(config))


def test_a_sweep_that_hydra_can_never_compose_is_rejected():
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        config.hydra.overrides.task = ["experiment=nothing", "seed=1,2"]
        with pytest.raises(MissingConfigException, match="nothing"):
            check_shared_settings(config, parse(config))


@pytest.mark.parametrize(
    ("overrides", "params", "message"),
    [
        (("model.n_members=2", "seed=1,2"), {}, "model.n_members was renamed: use model.ensemble"),
        (("training.threads=1,2",), {}, "use training.n_threads"),
        (("model=mlp,python",), {}, "model=python was renamed: use model=keras"),
        (("model.strategy=chain,binary_relevance",), {}, "use model.strategy=classifier_chain"),
        ((), {"preparation.impute": "choice(mean,median)"}, "use preprocessing.imputation"),
        (("model=mlp,svm", "seed=1,2"), {"training.epochs": "1,2"}, None),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_former_names_are_rejected(sweeper, overrides, params, message):
    own = (f"hydra/sweeper={sweeper}",)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=own, return_hydra_config=True)
        config.hydra.overrides.task = list(overrides)
        config.hydra.sweeper.params = params
        with pytest.raises(UserError, match=message) if message else nullcontext():
            check_former_names(config, parse(config))


def test_an_option_of_the_user_may_have_a_former_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "python.yaml").write_text("defaults:\n  - mlp\n")
    searchpath = f"hydra.searchpath=[file://{tmp_path}]"
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=[searchpath], return_hydra_config=True)
        config.hydra.overrides.task = ["model=mlp,python"]
        check_former_names(config, parse(config))


def digest(*overrides):
    return plan_command(*overrides)[0].digest


def test_the_plan_counts_jobs_and_the_name_lists_varied_settings():
    plan, parsed, _ = plan_command(
        "model.hidden_units=[20],[8,4]", "cv.n_splits=3", "seed=range(3)"
    )
    assert (plan.n_jobs, plan.in_order) == (6, True)
    assert set(plan.fixed) == {
        "cv.n_splits",
        *("tracking.uri", "tracking.parent_run_id", "tracking.experiment_name"),
    }
    assert sweep_name(parsed) == "sweep of model.hidden_units, seed"


def test_params_of_the_basic_sweeper_are_varied_settings():
    plan, *_ = plan_command("seed=4,5", params={"training.epochs": "1,2,3", "seed": "1,2,3,4"})
    assert plan.n_jobs == 6  # the command line wins


def test_the_digest_ignores_what_does_not_change_results():
    expected = digest("model.dropout=0,0.1", "cv.n_splits=3", "seed=2")
    assert expected == digest("cv.n_splits=3", "resume=true", "model.dropout=0,0.1", "seed=2")
    assert expected == digest(
        *("model.dropout=0,0.1", "cv.n_splits=3", "seed=2", "training.n_threads=1"),
        *("tracking.uri=sqlite:///x.db", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    )
    others = [
        ("model.dropout=0,0.2", "cv.n_splits=3", "seed=2"),
        ("model.dropout=0,0.1", "cv.n_splits=3", "seed=3"),
        ("model.dropout=0,0.1", "cv.n_splits=3"),
    ]
    assert expected not in {digest(*other) for other in others}
    # Jobs keep their numbers only if what varies keeps its order.
    assert digest("seed=1,2", "model.dropout=0,1") != digest("model.dropout=0,1", "seed=1,2")


@pytest.mark.parametrize("varied", ["tracking.uri=a,b", "tracking.experiment_name=a,b"])
def test_the_store_must_be_the_same_for_all_jobs(varied):
    _, parsed, _ = plan_command(varied)
    with pytest.raises(
        UserError, match=r"must be the same for all jobs of a sweep\. Received: tracking"
    ):
        check_constant_settings(parsed)


def test_no_more_parallel_jobs_than_jobs():
    *_, config = plan_command("hydra/launcher=joblib", "hydra.launcher.n_jobs=3")
    assert count_parallel_jobs(config, 12) == 3
    assert count_parallel_jobs(config, 2) == 2
    assert count_parallel_jobs(config, None) == 3
    *_, config = plan_command()
    assert count_parallel_jobs(config, 12) == 1


def test_joblib_gets_one_job_at_a_time_unless_set_otherwise():
    *_, config = plan_command("hydra/launcher=joblib")
    set_joblib_batch_size(config)
    assert config.hydra.launcher.batch_size == "1"
    *_, config = plan_command("hydra/launcher=joblib", "hydra.launcher.batch_size=4")
    set_joblib_batch_size(config)
    assert config.hydra.launcher.batch_size == "4"


def test_a_missing_launcher_is_named_with_its_installation(monkeypatch):
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "joblib.yaml")
    with pytest.raises(MissingConfigException) as missing:
        plan_command("hydra/launcher=joblib")
    expected = "hydra/launcher: joblib is not installed. Install it: pip install 'manyfold[joblib]'"
    assert explain_hydra_error(missing.value, []) == expected


def test_the_command_to_resume_is_quoted_for_a_shell(monkeypatch):
    arguments = ["--multirun", "model.hidden_units=[20],[8,4]", "resume=false"]
    monkeypatch.setattr(sys, "argv", ["/bin/manyfold", *arguments])
    resumed = "manyfold --multirun 'model.hidden_units=[20],[8,4]' resume=true"
    assert command_line(resume=True) == resumed
    monkeypatch.setattr(sys, "argv", ["/checkout/pipeline/__main__.py", *arguments])
    assert command_line().endswith(
        "-m pipeline --multirun 'model.hidden_units=[20],[8,4]' resume=false"
    )


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="$")))
def test_quoted_keeps_any_text(text):
    (override,) = OverridesParser.create().parse_overrides([f"++tracking.uri={quote(text)}"])
    assert override.value() == text
