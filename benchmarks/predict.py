"""Time `manyfold predict` and `manyfold serve` beside the least that each has to do.

predict: 1,000,000 x 10 from Parquet to Parquet, beside a bare loop of pyarrow and one compiled
Keras call for each batch, both within a process after their imports; then whole processes beside
the import of TensorFlow (a model in a folder) and of TensorFlow and MLflow (a model in a store),
and the peak memory of 100,000 and of 10,000,000 rows.
serve: the median latency of one row beside MLflow's server around a model that returns a constant.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ROUNDS = 3
N_ROWS, N_MANY = 1_000_000, 10_000_000
N_REQUESTS = 300
TRAIN = ("report=none", "cv.n_splits=2", "cv.n_repeats=1", "training.epochs=2")


def generate(path: Path, n_rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    schema = pa.schema([(f"x{j}", pa.float64()) for j in range(10)])
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for _ in range(0, n_rows, 100_000):
            columns = [pa.array(rng.integers(0, 20, 100_000).astype(float)) for _ in range(10)]
            writer.write_table(pa.table(columns, schema=schema))


def model_files(folder: Path) -> Path:
    return next(folder.rglob("schema.json")).parent


def bare(folder: str, rows: str, output: str, size: int) -> float:
    """Read, convert, call and write."""
    import keras
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet
    import tensorflow as tf

    import pipeline.preprocessing.layer  # noqa: F401  # registers it

    model = keras.saving.load_model(model_files(Path(folder)) / "model.keras", compile=False)
    program = tf.function(
        lambda X: model(X, training=False), input_signature=[tf.TensorSpec((None, 10), tf.float32)]
    )
    program(np.zeros((1, 10), np.float32))
    start = time.perf_counter()
    names, writer = ["y0", "y1", "y2"], None
    for batch in pyarrow.parquet.ParquetFile(rows).iter_batches(size):
        X = np.column_stack([column.to_numpy() for column in batch.columns]).astype(np.float32)
        y = program(X).numpy()
        table = pa.table([pa.array(y[:, j]) for j in range(3)], names=names)
        writer = writer or pyarrow.parquet.ParquetWriter(output, table.schema)
        writer.write_table(table)
    assert writer
    writer.close()
    return time.perf_counter() - start


def ours(folder: str, rows: str, output: str) -> float:
    import numpy as np

    from pipeline.prediction import Answer, open_model, open_output, open_rows, predict_file

    model = open_model(Path(folder), folder).model
    model.predict_proba(np.zeros((1, 10), np.float32))
    start = time.perf_counter()
    file = open_rows(rows, None, model, {})
    with open_output(Path(output)) as writer:
        predict_file(model, file, writer, Answer("probabilities", model.rule.threshold))
    return time.perf_counter() - start


def measure(*arguments: str) -> tuple[float, float, str]:
    """Return wall seconds, peak memory in MB and the output of a Python process."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([sys.executable, *arguments], stdout=output, cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, arguments
        output.seek(0)
        text = output.read()
    return time.perf_counter() - start, usage.ru_maxrss / 1024, text


def loop(way: str, *arguments: str) -> float:
    return float(measure("-m", "benchmarks.predict", "--way", way, *arguments)[2].split()[-1])


def latency(port: int, body: bytes) -> float:
    """Return the median milliseconds of a request after a warm-up."""
    seconds = []
    for _ in range(N_REQUESTS):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        start = time.perf_counter()
        urllib.request.urlopen(request).read()
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[N_REQUESTS // 3 :])


def constant(port: str) -> None:
    """Serve a constant by MLflow's server."""
    import mlflow
    import pandas as pd
    import uvicorn
    from mlflow.pyfunc.scoring_server import init

    class Constant(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return pd.DataFrame({"y0": [0.5] * len(model_input)})

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        mlflow.pyfunc.save_model(path, python_model=Constant(), pip_requirements=["mlflow"])
        model = mlflow.pyfunc.load_model(str(path))
    uvicorn.run(init(model), host="127.0.0.1", port=int(port), log_level="warning")


def wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise SystemExit(f"no server at port {port}")


def compare_loops(folder: Path, model: Path) -> None:
    rows, output = folder / "rows.parquet", folder / "o.parquet"
    best = dict.fromkeys(("bare 16384", "bare 65536", "bare 262144", "ours"), float("inf"))
    for _ in range(ROUNDS):
        for way in best:
            name, *size = way.split()
            seconds = loop(name, str(model), str(rows), str(output), *size)
            best[way] = min(best[way], seconds)
    for way, seconds in best.items():
        print(f"{way:12} {seconds:6.2f} s  {N_ROWS / seconds:12,.0f} rows/s")
    fastest = min(seconds for way, seconds in best.items() if way != "ours")
    print(f"speed of predict / bare loop: {fastest / best['ours']:.2f} (at least 0.60)")


def compare_starts(folder: Path, model: Path, store: str) -> None:
    few, output = folder / "few.parquet", str(folder / "o.parquet")
    predict = ("-m", "pipeline", "predict")
    ways = {
        "import tensorflow": ("-c", "import tensorflow"),
        "predict FOLDER": (*predict, str(model), str(few), "-o", output),
        "import both": ("-c", "import tensorflow, mlflow"),
        "predict RUN": (*predict, "bench", str(few), "-o", output, f"tracking.uri={store}"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    megabytes: dict[str, float] = {}
    for _ in range(ROUNDS):
        for way, command in ways.items():
            took, megabytes[way], _ = measure(*command)
            seconds[way].append(took)
    middle = {way: median(values) for way, values in seconds.items()}
    for way in ways:
        print(f"{way:18} {middle[way]:6.2f} s  {megabytes[way]:6.0f} MB")
    for way, base in (
        ("predict FOLDER", "import tensorflow"),
        ("predict RUN", "import both"),
    ):
        print(f"{way} / {base}: {middle[way] / middle[base]:.2f} (at most 1.3)")
    for name in ("rows", "many"):
        *_, peak, _ = measure(*predict, str(model), str(folder / f"{name}.parquet"), "-o", output)
        over = peak - megabytes["import tensorflow"]
        print(f"{name}: peak {peak:.0f} MB, import + {over:.0f} (at most 300)", end="")
        print(f", {peak / megabytes['predict FOLDER']:.2f} x that of 100,000 (at most 1.1)")


def compare_servers(model: Path) -> None:
    ports = (21871, 21872)
    row = {f"x{j}": 3 for j in range(10)}
    body = json.dumps({"dataframe_records": [row]}).encode()
    commands = (
        ("-m", "benchmarks.predict", "--way", "constant", "21871"),
        ("-m", "pipeline", "serve", str(model), "--port", "21872"),
    )
    processes = [
        subprocess.Popen([sys.executable, *it], cwd=ROOT, stdout=subprocess.DEVNULL)
        for it in commands
    ]
    try:
        for port in ports:
            wait_for(port)
        times = [[latency(port, body) for port in ports] for _ in range(ROUNDS)]
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    base, own = (median(column) for column in zip(*times, strict=True))
    print(f"a row: constant {base:.2f} ms, serve {own:.2f} ms: {own - base:+.2f} (at most +3)")


def main(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = f"sqlite:///{folder}/mlflow.db"
        train = (*TRAIN, f"tracking.uri={store}", "tracking.run_name=bench")
        measure("-m", "pipeline", *train, f"hydra.run.dir={folder}/hydra")
        model = model_files(folder / "artifacts")
        sizes = {"few": 100_000, "rows": N_ROWS, "many": N_MANY}
        for file, n_rows in sizes.items():
            if file != "many" or "start" in parts:
                generate(folder / f"{file}.parquet", n_rows)
        if "loop" in parts:
            compare_loops(folder, model)
        if "start" in parts:
            compare_starts(folder, model, store)
        if "serve" in parts:
            compare_servers(model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", help="used by the script itself")
    parser.add_argument("arguments", nargs="*", help="parts: loop, start, serve (default: all)")
    given = parser.parse_args()
    if given.way == "constant":
        constant(*given.arguments)
    elif given.way:
        ways: dict[str, Callable[..., float]] = {"bare": bare, "ours": ours}
        values = [int(it) if it.isdecimal() else it for it in given.arguments]
        print(ways[given.way](*values))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
    else:
        main(given.arguments or ["loop", "start", "serve"])
