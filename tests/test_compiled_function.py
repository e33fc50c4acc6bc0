"""Traced functions, in this process and in later ones."""

import gc
import json
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from pipeline.training.compiled_function import CompiledFunction, reproducible_sums

PROGRAM = """
import json, sys
from pipeline.keras_backend import import_keras
from pipeline.training.program_cache import enable_program_cache, save_programs
assert enable_program_cache() == []
import_keras()
import tensorflow as tf
from pipeline.training.compiled_function import CompiledFunction

key, n_before = sys.argv[1], int(sys.argv[2])
for i in range(n_before):  # moves the counter in the names of TensorFlow's functions
    tf.function(lambda x: x + i).get_concrete_function(tf.constant(1.0))
traced = []

def powers(x, n, options):
    traced.append(n.shape)
    def square(i, x):
        return i + 1, tf.vectorized_map(lambda row: row * row + tf.reduce_sum(row), x)
    x = tf.while_loop(lambda i, _: i < n, square, (tf.constant(0), x))[1]
    return {"x": x, "sum": tf.reduce_sum(x)}

function = CompiledFunction(powers, lambda *_: {"x": 0, "sum": 0}, key)
results = [function(tf.constant([[0.1, 0.2]] * rows), tf.constant(2), (None, 3)) for rows in (1, 2)]
save_programs()
print(json.dumps([len(traced), [it["x"].numpy().tolist() for it in results],
                  [float(it["sum"]) for it in results]]))
"""


def test_later_processes_trace_nothing_and_compile_nothing(tmp_path):
    def run(key, n_before=0):
        environment = {**os.environ, "MANYFOLD_CACHE_DIR": str(tmp_path)}
        environment.pop("TF_XLA_FLAGS", None)
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, key, str(n_before)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    n_traced, *expected = run("a")
    x = np.array([[0.1, 0.2]], np.float32)
    for _ in range(2):
        x = x * x + x.sum()
    np.testing.assert_allclose(expected[0][0], x, rtol=1e-6)
    np.testing.assert_allclose(expected[1], [x.sum(), 2 * x.sum()], rtol=1e-6)
    assert n_traced == 2

    traces = sorted(
        tmp_path.glob("programs/*/*.trace.*"),
        key=lambda it: it.stat().st_mtime_ns,  # a trace has the number of functions before it
    )
    programs = sorted(tmp_path.glob("programs/*/*.pb.*"))
    assert (len(traces), len(programs)) == (2, 2)
    assert run("a", n_before=3) == [0, *expected]
    assert sorted(tmp_path.glob("programs/*/*.pb.*")) == programs
    assert run("b") == [2, *expected], "another key is another function"

    traces[0].write_bytes(traces[0].read_bytes()[:-9])
    assert run("a") == [1, *expected]
    assert {*traces} <= {*tmp_path.glob("programs/*/*.trace.*")}
    assert run("a") == [0, *expected]


def test_a_trace_translated_for_a_cpu_is_not_taken_on_a_gpu(monkeypatch):
    names = set()
    for devices in ([], ["GPU"]):
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda _, found=devices: found)
        names.add(CompiledFunction(lambda x: x + 1, key="devices").trace(tf.constant(1.0)))
    assert len(names) == 2


def test_a_function_is_traced_once_for_each_shape_whatever_the_thread():
    traced = []

    def double(x):
        traced.append(x.shape)
        return 2 * x

    function = CompiledFunction(double)
    arrays = [np.arange(n, dtype=np.float32) for n in (3, 4)] * 10
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(function, arrays))
    for array, result in zip(arrays, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), 2 * array)
    assert sorted(map(tuple, traced)) == [(3,), (4,)]


def test_functions_without_a_key_share_nothing():
    one, two = (CompiledFunction(function) for function in (lambda x: x + 1, lambda x: x + 2))
    assert (float(one(tf.constant(1.0))), float(two(tf.constant(1.0)))) == (2, 3)


def test_a_function_without_a_key_leaves_nothing_behind():
    def known():
        names = context.context().list_function_names()
        return {name for name in names if name.startswith("manyfold_")}

    def call():
        constant = tf.range(2000.0)  # large enough to be an input of the graph
        function = CompiledFunction(
            lambda x: tf.while_loop(lambda x: x[0] < 1, lambda x: [x + constant + 1], [x])[0]
        )
        assert function(tf.zeros(2000)).numpy()[-1] == 2000
        assert len(known() - before) > 1, "the loop is a function too"
        return weakref.ref(constant)

    before = known()
    captured = call()
    gc.collect()
    assert known() <= before
    assert captured() is None


def test_tensors_of_the_process_are_passed_and_not_kept(tmp_path, monkeypatch):
    from pipeline.training import compiled_function

    kept = []
    monkeypatch.setattr(compiled_function, "write_trace", lambda name, _: kept.append(name))
    constant = tf.range(2000.0)  # large enough to be an input of the graph
    function = CompiledFunction(lambda x: tf.reduce_sum(x * constant), key=str(tmp_path))
    assert float(function(tf.constant(2.0))) == 2000 * 1999
    assert kept == []
    plain = CompiledFunction(tf.reduce_sum, key=f"{tmp_path} plain")
    assert float(plain(tf.constant([1.0, 2.0]))) == 3
    assert len(kept) == 1
    again = CompiledFunction(lambda x: 1 / 0, key=str(tmp_path))  # known in this process
    assert float(again(tf.constant(2.0))) == 2000 * 1999


def test_a_kept_function_has_the_bits_of_one_that_is_not_kept(tmp_path):
    def sums(x, state):
        def add(i, x, count):
            return i + 1, tf.sin(x @ x) + x, count + tf.cast(x[0, 0] > 0, tf.int64)

        _, x, count = tf.while_loop(lambda i, *_: i < 20, add, (0, x, state["count"]))
        return x, tf.concat([state["none"], x], axis=1), count

    x = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    state = {"count": np.int64(0), "none": np.zeros((40, 0), np.float32)}
    results = [
        CompiledFunction(sums, lambda *_: (0, 0, 0), key)(x, state) for key in (None, str(tmp_path))
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert results[0][2] > 0


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", True),
        ("tf.function(lambda: tf.zeros(3) + 1)()", True),
        ("tf.function(lambda: tf.zeros(3) + 1, jit_compile=True)()", False),
    ],
    ids=["nothing", "a graph", "a compilation"],
)
def test_sums_are_reproducible_unless_other_code_has_compiled_before(before, expected):
    program = f"""
import os
import tensorflow as tf
{before}
from pipeline.training.compiled_function import has_reproducible_sums
print(has_reproducible_sums(), os.environ.get("XLA_FLAGS"))
"""
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(expected), "None"], done.stderr


def test_overlapping_compilations_leave_the_options_as_they_were(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    with ThreadPoolExecutor(4) as executor:
        for _ in range(4):
            executor.submit(compile_slowly)
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to="


def compile_slowly():
    with reproducible_sums():
        time.sleep(0.02)
