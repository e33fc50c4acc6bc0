"""The number of cores of a process, and its heavy imports."""

import os
import subprocess
import sys

import pytest

from pipeline import runtime
from pipeline.runtime import (
    CORES_VARIABLE,
    THREAD_VARIABLES,
    divide_cores,
    is_parallel_job,
    n_cores,
)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch, tmp_path):
    """Give the process eight cores, without a quota, and restore the environment afterwards."""
    for name in (CORES_VARIABLE, *THREAD_VARIABLES):
        monkeypatch.setenv(name, "")  # so that the variable is restored even if it was not set
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(runtime, "CGROUP", tmp_path)
    monkeypatch.setattr(runtime, "PROC", tmp_path / "proc")


@pytest.mark.parametrize(("n_jobs", "expected"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_jobs_divide_the_cores(n_jobs, expected):
    assert (n_cores(), is_parallel_job()) == (8, False)
    for _ in range(2):  # the second job of a process
        divide_cores(n_jobs)
        assert (n_cores(), is_parallel_job()) == (expected, True)
    assert {os.environ[name] for name in THREAD_VARIABLES} == {str(expected)}


def test_variables_that_the_user_has_set_are_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    divide_cores(2)
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_without_affinity_as_on_macos_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert n_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {}, 8),
        ("0::/", {"cpu.max": "max 100000\n"}, 8),
        ("0::/", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/a/b", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/a", {"b/cpu.max": "100000 100000\n"}, 8),  # of another group
        (
            "5:cpuacct,cpu:/",
            {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        (
            "5:cpu:/",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            8,
        ),
        ("5:cpuset:/", {"cpu.max": "100000 100000\n"}, 8),
    ],
)
def test_the_cpu_quota_of_a_container_limits_the_cores(tmp_path, groups, files, expected):
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert n_cores() == expected


def test_counting_cores_imports_no_numpy():
    program = (
        "import sys; from pipeline.runtime import divide_cores; divide_cores(2)\n"
        "sys.exit(bool({'numpy', 'joblib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads the threads of /proc")
def test_tensorflow_uses_the_divided_cores_only():
    program = (
        "import os; from pipeline.runtime import divide_cores; divide_cores(10**6)\n"
        "import tensorflow as tf; tf.linalg.matmul(tf.ones((500, 500)), tf.ones((500, 500)))\n"
        "folder = '/proc/self/task'\n"
        "names = [open(f'{folder}/{it}/comm').read() for it in os.listdir(folder)]\n"
        "print(sum('tf_Compute' in name for name in names))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stdout.split() == ["1"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("pipeline.runtime", "keras"), ("pipeline.config", "numpy")],
)
def test_the_module_does_not_import_heavy_libraries(module, heavy):
    program = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
