"""A job's share of the cores."""

import os
import subprocess
import sys

import pytest

from pipeline.runtime import CORES_VARIABLE, THREAD_VARIABLES, divide_cores, is_shared, n_cores


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in (CORES_VARIABLE, *THREAD_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that it is restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(("n_jobs", "share"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_jobs_share_the_cores(n_jobs, share):
    assert (n_cores(), is_shared()) == (8, False)
    for _ in range(2):  # the second job of a process
        divide_cores(n_jobs)
        assert (n_cores(), is_shared()) == (share, True)
    assert {os.environ[name] for name in THREAD_VARIABLES} == {str(share)}


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    divide_cores(2)
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_tensorflow_keeps_to_it():
    program = (
        "import os; from pipeline.runtime import share_cores; share_cores(10**6)\n"
        "import tensorflow as tf; tf.linalg.matmul(tf.ones((500, 500)), tf.ones((500, 500)))\n"
        "folder = '/proc/self/task'\n"
        "names = [open(f'{folder}/{it}/comm').read() for it in os.listdir(folder)]\n"
        "print(sum('tf_Compute' in name for name in names))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["1"]
