"""Write a scikit-learn pipeline with its preprocessing and calibration as an ONNX graph.

skl2onnx converts the estimators; the nodes around them are those of Manyfold's own classes.
"""

import warnings
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier

from pipeline.decision.rule import EDGE
from pipeline.errors import UserError
from pipeline.export.examples import INPUT, OPSET, OUTPUT
from pipeline.model.loaded_model import LoadedModel
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier
from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor

DOMAINS = {"": OPSET, "ai.onnx.ml": 3}
IR_VERSION = 10  # of the file; older programs read it, too
FLOAT, INT64 = 1, 7  # data types of ONNX


def write_sklearn_onnx(model: LoadedModel, path: Path) -> None:
    """Write an `.onnx` file.

    Raises:
        UserError: If skl2onnx cannot convert an estimator.
    """
    graph = _Graph()
    X = _preprocess(graph, INPUT, model.model["preprocessor"])
    n_columns = model.model["preprocessor"].n_columns
    y_scores = [
        _classify(graph, X, n_columns, classifier)
        for classifier in model.model["classifier"].classifiers
    ]
    y_score = _calibrate(graph, graph.add("Mean", *y_scores), model.rule.temperature)
    graph.write(path, y_score, model.schema.n_encoded, len(model.label_names))


class _Graph:
    """Nodes and constants of an ONNX graph; the methods that add nodes return names of results."""

    def __init__(self) -> None:
        self._onnx = import_module("onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._domains = dict(DOMAINS)

    def add(self, op_type: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        """Add a node; arrays become constants."""
        names = [it if isinstance(it, str) else self._add_constant(it) for it in inputs]
        output = f"{op_type}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op_type, names, [output], **attributes))
        return output

    def add_estimator(self, X: str, n_columns: int, estimator: Any) -> tuple[str, str]:
        """Add a fitted estimator; return the names of its labels and its probabilities."""
        proto = _convert(estimator, n_columns)
        prefix = f"estimator_{len(self._nodes)}_"
        converted = self._onnx.compose.add_prefix(proto, prefix).graph
        self._nodes.append(self._onnx.helper.make_node("Identity", [X], [converted.input[0].name]))
        self._nodes += converted.node
        self._constants += converted.initializer
        self._domains |= {
            it.domain: max(it.version, self._domains.get(it.domain, 0)) for it in proto.opset_import
        }
        return converted.output[0].name, converted.output[1].name

    def write(self, path: Path, output: str, n_features: int, n_labels: int) -> None:
        """Write the graph to a file."""
        helper = self._onnx.helper
        self._nodes.append(helper.make_node("Identity", [output], [OUTPUT]))
        graph = helper.make_graph(
            self._nodes,
            "manyfold",
            [helper.make_tensor_value_info(INPUT, FLOAT, ["rows", n_features])],
            [helper.make_tensor_value_info(OUTPUT, FLOAT, ["rows", n_labels])],
            self._constants,
        )
        imports = [helper.make_opsetid(*domain) for domain in self._domains.items()]
        proto = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        self._onnx.checker.check_model(proto)
        self._onnx.save(proto, path)

    def _add_constant(self, values: NDArray[Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(values, name))
        return name


def _preprocess(graph: _Graph, X: str, preprocessor: Preprocessor) -> str:
    """Add the nodes of `Preprocessor.transform`."""
    numbers = graph.add("Gather", X, preprocessor.numeric, axis=1)
    missing = graph.add("IsNaN", numbers)
    filled = graph.add("Where", missing, preprocessor.fill, numbers)
    centered = graph.add("Sub", filled, preprocessor.center)
    parts = [graph.add("Div", centered, preprocessor.scale)]
    indicators = preprocessor.indicators
    if len(indicators):
        indicated = graph.add("Gather", missing, np.maximum(indicators, 0), axis=1)
        is_used = graph.add("And", indicated, indicators != NO_COLUMN)
        parts.append(graph.add("Cast", is_used, to=FLOAT))
    if preprocessor.layout.n_category_columns:
        parts.append(_one_hot(graph, X, preprocessor))
    return graph.add("Concat", *parts, axis=1)


def _one_hot(graph: _Graph, X: str, preprocessor: Preprocessor) -> str:
    """Add nodes that give a column 1 if it is the column of its feature's category."""
    codes = graph.add("Gather", X, preprocessor.categorical, axis=1)
    missing = graph.add("IsNaN", codes)
    present = graph.add("Where", missing, np.float32(0).reshape(1), codes)
    first = np.cumsum([0, *map(len, preprocessor.columns[:-1])])
    index = graph.add("Add", graph.add("Cast", present, to=INT64), first)
    column = graph.add("Gather", np.concatenate(preprocessor.columns), index)
    column = graph.add("Where", missing, np.array([NO_COLUMN]), column)
    if preprocessor.layout.is_ordinal:
        return graph.add("Cast", column, to=FLOAT)
    feature_column = graph.add("Gather", column, preprocessor.column_features, axis=1)
    is_column = graph.add("Equal", feature_column, np.arange(len(preprocessor.column_features)))
    return graph.add("Cast", is_column, to=FLOAT)


def _classify(graph: _Graph, X: str, n_columns: int, classifier: MultilabelClassifier) -> str:
    """Add the nodes of a `MultilabelClassifier`."""
    frequencies = classifier.frequencies.astype(np.float32)
    n_rows = graph.add("Shape", X, end=1)
    shape = graph.add("Concat", n_rows, np.array([len(frequencies)]), axis=0)
    parts = [graph.add("Expand", frequencies, shape)]
    column, n = np.arange(len(frequencies)), len(frequencies)
    for fitted in classifier.estimators:
        parts.append(_predict(graph, X, n_columns, fitted))
        column[list(fitted.labels)] = n + np.arange(len(fitted.labels))
        n += len(fitted.labels)
    return graph.add("Gather", graph.add("Concat", *parts, axis=1), column, axis=1)


def _predict(graph: _Graph, X: str, n_columns: int, fitted: FittedEstimator) -> str:
    """Add an estimator, and return its probabilities of the positive class."""
    if isinstance(fitted.estimator, ClassifierChain):
        return _predict_chain(graph, X, n_columns, fitted.estimator)
    _, probabilities = graph.add_estimator(X, n_columns, fitted.estimator)
    if isinstance(fitted.estimator.classes_, list):  # of shape (n_labels, n_rows, 2)
        positive = graph.add("Gather", probabilities, np.array(1), axis=2)
        return graph.add("Transpose", positive)
    if len(fitted.labels) == 1:
        return graph.add("Gather", probabilities, np.array([1]), axis=1)
    return probabilities


def _predict_chain(graph: _Graph, X: str, n_columns: int, chain: ClassifierChain) -> str:
    """Add the estimators of a chain, each of which sees the predictions of those before it."""
    positives = []
    for estimator in chain.estimators_:
        label, probabilities = graph.add_estimator(X, n_columns, estimator)
        positive = graph.add("Gather", probabilities, np.array([1]), axis=1)
        positives.append(positive)
        if chain.chain_method_ == "predict":
            column = graph.add("Reshape", label, np.array([-1, 1]))
            positive = graph.add("Cast", column, to=FLOAT)
        X, n_columns = graph.add("Concat", X, positive, axis=1), n_columns + 1
    joined = graph.add("Concat", *positives, axis=1)
    return graph.add("Gather", joined, np.argsort(chain.order_), axis=1)


def _calibrate(graph: _Graph, y_score: str, temperature: NDArray[np.float64]) -> str:
    """Add the nodes of `apply_temperature`."""
    if (temperature == 1).all():
        return y_score
    low, high, one = (np.array(it, np.float32) for it in (EDGE, 1 - EDGE, 1))
    inside = graph.add("Clip", y_score, low, high)
    complement = graph.add("Sub", one, inside)
    log_odds = graph.add("Sub", graph.add("Log", inside), graph.add("Log", complement))
    return graph.add("Sigmoid", graph.add("Div", log_odds, temperature.astype(np.float32)))


def _to_int64(values: Any) -> Any:
    """Return an array, or each array of a list, as int64."""
    return [*map(_to_int64, values)] if isinstance(values, list) else values.astype(np.int64)


def _convert(estimator: Any, n_columns: int) -> Any:
    """Convert a fitted estimator.

    Raises:
        UserError: If skl2onnx cannot.
    """
    skl2onnx, types = import_module("skl2onnx"), import_module("skl2onnx.common.data_types")
    trees = import_module("skl2onnx.common.tree_ensemble")
    add_node = trees.add_node

    def add_node_of_float32(*arguments: Any, **keywords: Any) -> None:
        """Add a node of a tree: boosted ones need thresholds of float32, and no booleans."""
        missing = int(keywords.pop("nodes_missing_value_tracks_true", 0))
        keywords |= {"adjust_threshold_for_sklearn": True, "dtype": np.float32}
        add_node(*arguments, **keywords, nodes_missing_value_tracks_true=missing)

    if isinstance(estimator, KNeighborsClassifier):  # ONNX has no operation for its type, int8
        estimator = copy(estimator)
        estimator._y = estimator._y.astype(np.int64)
        estimator.classes_ = _to_int64(estimator.classes_)
    try:
        with patch.object(trees, "add_node", add_node_of_float32), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes that scikit-learn deprecates
            return skl2onnx.to_onnx(
                estimator,
                initial_types=[("X", types.FloatTensorType([None, n_columns]))],
                options={id(estimator): {"zipmap": False}},
                target_opset=DOMAINS,
            )
    except Exception as error:  # skl2onnx raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--format onnx: expected estimators that skl2onnx converts. Received: "
            f"{type(estimator).__name__} ({reason}). Use --format skops."
        ) from error
