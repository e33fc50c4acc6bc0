"""Code that loads an exported model, and the files of each format."""

INPUT, OUTPUT = "features", "probabilities"  # names in the exported graphs
OPSET = 18  # of ONNX; the newest one that tf2onnx writes

FILES = {
    "onnx": "model.onnx",
    "saved_model": "saved_model",
    "litert": "model.tflite",
    "skops": "model.skops",
}
"""Name of the model's file or folder by format."""

_START = """\
import json
{imports}
schema = json.load(open("schema.json", encoding="utf-8"))
X = {rows}
"""
_EXAMPLES = {
    "onnx": (
        "\nimport numpy as np\nimport onnxruntime\n",
        """\
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["probabilities"], {"features": X})
""",
    ),
    "saved_model": (
        "\nimport numpy as np\nimport tensorflow as tf\n",
        """\
model = tf.saved_model.load("saved_model")
probabilities = model.serve(X)["probabilities"].numpy()
""",
    ),
    "litert": (
        "\nimport numpy as np\nfrom ai_edge_litert.interpreter import Interpreter\n",
        """\
predict = Interpreter("model.tflite").get_signature_runner()
probabilities = predict(features=X)["probabilities"]
""",
    ),
    "skops": (
        'import sys\n\nimport numpy as np\nimport skops.io\n\nsys.path.insert(0, "code")\n'
        "from pipeline.decision.rule import apply_temperature\n",
        """\
model = skops.io.load("model.skops", trusted=schema["trusted"])
probabilities = apply_temperature(model.predict_proba(X), np.array(schema["temperature"]))
""",
    ),
}
_END = """\
predictions = (probabilities > np.array(schema["threshold"])).astype(int)
"""


def make_example(export_format: str, rows: str) -> str:
    """Return code that predicts rows with an exported model, from within its folder.

    Args:
        export_format: Name of the format.
        rows: Expression of the rows.
    """
    imports, body = _EXAMPLES[export_format]
    return _START.format(imports=imports, rows=rows) + body + _END
