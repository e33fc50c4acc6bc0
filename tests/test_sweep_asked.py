"""What is read from a command line before its jobs: how many, what varies, what is the same."""

import sys
from contextlib import nullcontext

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException
from hydra.plugins.sweeper import Sweeper
from hypothesis import given
from hypothesis import strategies as st

from pipeline import sweeps
from pipeline.config.compose import explain_hydra_error
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR
from pipeline.sweeps.callback import quoted
from pipeline.sweeps.overrides import (
    check_constant_settings,
    check_shared_settings,
    command_line,
    jobs_at_once,
    parse,
    plan_sweep,
    set_joblib_batch_size,
    sweep_name,
)


def ask(*overrides, **sweeper):
    """Return the plan of a command, and what was parsed."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        own = [it for it in overrides if it.startswith("hydra")]
        config = compose("config", overrides=own, return_hydra_config=True)
        config.hydra.overrides.task = [it for it in overrides if it not in own]
        config.hydra.sweeper.params = sweeper.get("params")
        parsed = parse(config)
        return plan_sweep(config, parsed), parsed, config


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (("training.batch_size=0", "seed=1,2"), "training.batch_size"),
        (("resume=maybe", "seed=1,2"), "resume"),
        (("training.batch_size=0,-1", "seed=1,2"), None),  # each job says so of its own value
        (("dataset=table,synthetic", "dataset.path=a.csv"), None),  # the second is no refusal here
        (("training.batch_size=0,8", "seed=1,2"), None),
        (("model=mlp,mpl",), None),  # Hydra's to refuse
    ],
    ids=str,
)
def test_what_all_jobs_would_refuse_is_refused_before_there_is_a_sweep(overrides, refused):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        config.hydra.overrides.task = list(overrides)
        with pytest.raises(UserError, match=refused) if refused else nullcontext():
            check_shared_settings(config, parse(config))


def digest(*overrides):
    return ask(*overrides)[0].digest


def test_jobs_are_counted_and_what_varies_is_told():
    plan, parsed, _ = ask("model.hidden_units=[20],[8,4]", "cv.n_splits=3", "seed=range(3)")
    assert (plan.n_jobs, plan.in_order) == (6, True)
    assert set(plan.fixed) == {"cv.n_splits", "tracking.uri", "tracking.parent_run_id"}
    assert sweep_name(parsed) == "sweep of model.hidden_units, seed"


def test_a_file_of_settings_may_say_what_varies():
    plan, *_ = ask("seed=4,5", params={"training.epochs": "1,2,3", "seed": "1,2,3,4"})
    assert plan.n_jobs == 6  # the command line wins


def test_the_same_is_asked_whatever_does_not_matter():
    asked = digest("model.dropout=0,0.1", "cv.n_splits=3", "seed=2")
    assert asked == digest("cv.n_splits=3", "resume=true", "model.dropout=0,0.1", "seed=2")
    assert asked == digest(
        *("model.dropout=0,0.1", "cv.n_splits=3", "seed=2", "training.threads=1"),
        *("tracking.uri=sqlite:///x.db", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    )
    others = [
        ("model.dropout=0,0.2", "cv.n_splits=3", "seed=2"),
        ("model.dropout=0,0.1", "cv.n_splits=3", "seed=3"),
        ("model.dropout=0,0.1", "cv.n_splits=3"),
    ]
    assert asked not in {digest(*other) for other in others}
    # Jobs keep their numbers only if what varies keeps its order.
    assert digest("seed=1,2", "model.dropout=0,1") != digest("model.dropout=0,1", "seed=1,2")


@pytest.mark.parametrize("swept", ["tracking.uri=a,b", "tracking.experiment_name=a,b"])
def test_a_sweep_has_one_store(swept):
    _, parsed, _ = ask(swept)
    with pytest.raises(UserError, match=r"expected one value in a sweep\. Received: tracking"):
        check_constant_settings(parsed)


def test_jobs_at_once_are_no_more_than_there_are():
    *_, config = ask("hydra/launcher=joblib", "hydra.launcher.n_jobs=3")
    assert jobs_at_once(config, 12) == 3
    assert jobs_at_once(config, 2) == 2
    assert jobs_at_once(config, None) == 3
    *_, config = ask()
    assert jobs_at_once(config, 12) == 1


def test_joblib_deals_jobs_one_by_one_unless_told_otherwise():
    *_, config = ask("hydra/launcher=joblib")
    set_joblib_batch_size(config)
    assert config.hydra.launcher.batch_size == "1"
    *_, config = ask("hydra/launcher=joblib", "hydra.launcher.batch_size=4")
    set_joblib_batch_size(config)
    assert config.hydra.launcher.batch_size == "4"


def test_a_missing_launcher_comes_with_its_remedy(monkeypatch):
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "joblib.yaml")
    with pytest.raises(MissingConfigException) as missing:
        ask("hydra/launcher=joblib")
    expected = "hydra/launcher: joblib is not installed. Install it: pip install 'manyfold[joblib]'"
    assert explain_hydra_error(missing.value, []) == expected


def test_the_command_to_continue_is_what_a_shell_takes(monkeypatch):
    arguments = ["--multirun", "model.hidden_units=[20],[8,4]", "resume=false"]
    monkeypatch.setattr(sys, "argv", ["/bin/manyfold", *arguments])
    continued = "manyfold --multirun 'model.hidden_units=[20],[8,4]' resume=true"
    assert command_line(resume=True) == continued
    monkeypatch.setattr(sys, "argv", ["/checkout/pipeline/__main__.py", *arguments])
    assert command_line().endswith(
        "-m pipeline --multirun 'model.hidden_units=[20],[8,4]' resume=false"
    )


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="$")))
def test_any_text_is_passed_on_to_jobs_as_it_is(text):
    (override,) = OverridesParser.create().parse_overrides([f"++tracking.uri={quoted(text)}"])
    assert override.value() == text


def test_each_option_is_composed_once_before_the_first_job(monkeypatch):
    composed = []
    monkeypatch.setattr(
        Sweeper, "validate_batch_is_legal", lambda self, batch: composed.extend(batch)
    )
    sweeps.register()
    (basic,) = [it for it in Plugins.instance().discover(Sweeper) if it.__name__ == "BasicSweeper"]
    batch = [[f"model={m}", f"seed={s}", "cv.n_splits=3"] for m in "abc" for s in range(50)]
    basic(max_batch_size=None).validate_batch_is_legal(batch)
    assert {it for job in composed for it in job} == {it for job in batch for it in job}
    assert len(composed) == 50 + 3 - 1
