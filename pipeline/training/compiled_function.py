"""A function that XLA compiles, whose trace can be kept on disk for later processes.

Tracing a training step takes longer than reading its compiled program from the cache. So the traced
graph is kept too, translated into XLA's own language where TensorFlow can read that. The names of
kept functions come from a digest, not from a counter of the process, because XLA's cache knows a
program by the name of its function.
"""

import os
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from threading import Lock, RLock
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.function_pb2 import FunctionDef, FunctionDefLibrary
from tensorflow.python.eager import context

from pipeline.cache_folder import VARIABLE
from pipeline.keras_backend import imported_tensorflow
from pipeline.training.program_cache import is_of_cache, read_trace, write_trace

# Of the operations that XLA hands to another library (YNNPACK), products alone: that is faster, and
# their bits are the same in stacks of any size. Its sums are added in an order that is not.
_LIBRARY = "--xla_cpu_experimental_ynn_fusion_type="
_PRODUCTS = f"{_LIBRARY}LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
N_TRIED_SUMS = 16  # as threads can happen to add in the same order
_TESTED_VERSION = "2.21."  # a version of TensorFlow that does not know an option aborts the process
_CALL_VERSION = 9  # of the operation that runs a translated graph


class _Defined(NamedTuple):
    """A function that TensorFlow knows.

    Attributes:
        functions: Names of it and of the functions that it calls.
        captures: Tensors of this process that it needs.
    """

    functions: list[str]
    captures: list[tf.Tensor]


_defined: dict[str, _Defined] = {}  # by name
_lock = Lock()
_environment = RLock()


def _is_tested_version() -> bool:
    return version("tensorflow").startswith(_TESTED_VERSION)


@contextmanager
def reproducible_sums() -> Iterator[None]:
    """Let XLA add in an order that does not depend on the size of a stack.

    XLA reads its options once, when it first compiles in a process. They are then restored, because
    another copy of XLA in this process, such as that of JAX, might not know them.
    """
    with _environment:
        own = os.environ.get("XLA_FLAGS")
        if _is_tested_version() and _LIBRARY not in (own or ""):
            os.environ["XLA_FLAGS"] = f"{own or ''} {_PRODUCTS}".strip()
        try:
            yield
        finally:
            if own is None:
                os.environ.pop("XLA_FLAGS", None)
            else:
                os.environ["XLA_FLAGS"] = own


@cache
def has_reproducible_sums() -> bool:
    """Return whether large sums have the same bits in stacks of any size.

    They have not if other code of this process has compiled before, or with a version of TensorFlow
    that does not know the option. If Manyfold has imported TensorFlow itself, no code has.
    """
    if imported_tensorflow() and _is_tested_version():
        return True

    def add(batches: tf.Tensor) -> tf.Tensor:
        """Add the outputs of a layer, which XLA does otherwise than it adds inputs."""
        weights = tf.transpose(batches, (0, 2, 1)) @ batches
        return tf.reduce_sum(tf.nn.relu(batches @ weights), axis=1)

    compiled = tf.function(add, jit_compile=True, autograph=False)
    generator = np.random.default_rng(0)
    with reproducible_sums():
        for _ in range(N_TRIED_SUMS):
            values = generator.normal(size=(8, 32, 256)).astype(np.float32)
            few, many = (compiled(tf.constant(values[:size])).numpy() for size in (2, len(values)))
            if not np.array_equal(few, many[:2]):
                return False
    return True


class CompiledFunction:
    """Calls a function of nested tensors in a program that is compiled for each of their shapes.

    Attributes:
        names: Names of the traced functions, one for each combination of shapes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        structure: Callable[..., Any] = lambda *_: 0,
        key: str | None = None,
        *,
        with_xla: bool = True,
    ) -> None:
        """Keep the function; nothing is traced yet.

        Args:
            function: Takes and returns nested tensors, and has no state.
            structure: Returns a nest of the structure of the results, given the arguments; a single
                tensor by default.
            key: Identifies the function and the code behind it in all processes; None if its trace
                is not to be kept.
            with_xla: Whether XLA compiles it. Without, TensorFlow runs the graph, which takes less
                preparation.
        """
        self._function, self._structure, self._with_xla = function, structure, with_xla
        self._is_kept = key is not None
        # A translation runs on a CPU alone, and this machine can have a GPU another time.
        self._is_translated = self._is_kept and with_xla and _can_translate()
        self._key = f"{key or uuid.uuid4().hex}{' for a CPU' * self._is_translated}"
        self.names: set[str] = set()
        if not self._is_kept:  # no other function has its key, so nobody can use the traces then
            weakref.finalize(self, _remove, self.names).atexit = False

    def trace(self, *args: Any) -> str:
        """Trace the function for arguments of these shapes; return the name of the result."""
        leaves = tf.nest.flatten(args)
        shapes = [
            f"{leaf.dtype}{leaf.shape}" if _is_tensor(leaf) else repr(leaf) for leaf in leaves
        ]
        structure = repr(tf.nest.map_structure(lambda _: 0, args))
        digest = sha256("\n".join((self._key, structure, *shapes)).encode()).hexdigest()
        name = f"manyfold_{digest[:32]}"
        with _lock:
            if name not in _defined:
                kept = read_trace(name) if self._is_kept else None
                if kept is None:
                    library, captures = self._trace(name, args)
                else:
                    library, captures = FunctionDefLibrary.FromString(kept), []
                for function in library.function:
                    context.context().add_function_def(function)
                names = [function.signature.name for function in library.function]
                _defined[name] = _Defined(names, captures)
            self.names.add(name)
        return name

    def __call__(self, *args: Any) -> Any:
        """Return the results of the function, and compile it first if the shapes are new."""
        name = self.trace(*args)
        structure = self._structure(*args)
        inputs = [tf.convert_to_tensor(it) for it in tf.nest.flatten(args) if _is_tensor(it)]
        outputs = context.context().call_function(
            name.encode(),
            [*inputs, *_defined[name].captures],
            len(tf.nest.flatten(structure)),
        )
        return tf.nest.pack_sequence_as(structure, outputs)

    def _trace(
        self, name: str, args: tuple[Any, ...]
    ) -> tuple[FunctionDefLibrary, list[tf.Tensor]]:
        """Trace the function, and keep it unless it needs tensors of this process."""
        traced = tf.function(
            lambda *args: self._function(*args), jit_compile=self._with_xla, autograph=False
        )
        concrete = traced.get_concrete_function(*args)
        captures = list(concrete.captured_inputs)
        is_kept = self._is_kept and not captures
        if is_kept and self._is_translated:
            concrete = _translate(traced, concrete, args)
        library = concrete.graph.as_graph_def().library
        main = concrete.function_def
        library.function.append(main)
        library = _rename(library, main.signature.name, name, with_xla=self._with_xla)
        if is_kept:
            write_trace(name, library.SerializeToString(deterministic=True))
        return library, captures


def describe_failure(error: tf.errors.OpError) -> str:
    """Return the message for a compilation that has failed."""
    received = f"Received: {str(error).strip().splitlines()[0][:300]}"
    if is_of_cache(error):
        return (
            f"{VARIABLE}: expected a folder that compiled programs can be written to. {received}. "
            f"Choose another folder, or keep no programs: {VARIABLE}=off"
        )
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return (
            f"model: expected folds that fit into memory. {received}. Train fewer at once "
            "(training.fits_per_program=1 training.n_threads=1) or in smaller batches "
            "(training.batch_size)."
        )
    return (
        "model: expected layers that XLA can compile, because all folds train in one program. "
        + received
    )


def _can_translate() -> bool:
    """Return whether TensorFlow can read graphs in XLA's own language, and they are for a CPU."""
    return _is_tested_version() and not tf.config.list_logical_devices("GPU")


def _translate(traced: Any, concrete: Any, args: tuple[Any, ...]) -> Any:
    """Return a function that holds the graph in XLA's own language.

    TensorFlow translates a graph whenever a process compiles it, even if XLA's cache has the
    program; this takes several times as long as reading the translation.

    Args:
        traced: The function.
        concrete: Its trace without captured tensors.
        args: Its arguments.
    """
    module = traced.experimental_get_compiler_ir(*args)(stage="stablehlo_serialized")
    outputs = concrete.outputs

    def call(*leaves: tf.Tensor) -> Any:
        return gen_xla_ops.xla_call_module(
            [leaf for leaf in leaves if 0 not in leaf.shape],  # XLA has no empty parameters
            version=_CALL_VERSION,
            module=module,
            Sout=[output.shape for output in outputs],
            Tout=[output.dtype for output in outputs],
            platforms=["CPU"],
        )

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in concrete.inputs]
    return tf.function(call, jit_compile=True, autograph=False).get_concrete_function(*specs)


def _remove(names: set[str]) -> None:
    """Remove traced functions, the functions they call, and the tensors they capture."""
    for name in names:
        for function in _defined.pop(name).functions:
            context.context().remove_function(function)


def _is_tensor(leaf: Any) -> bool:
    return tf.is_tensor(leaf) or isinstance(leaf, np.ndarray | np.generic)


def _rename(
    library: FunctionDefLibrary, main: str, name: str, *, with_xla: bool
) -> FunctionDefLibrary:
    """Name the main function, and all others after it, also where they are called."""
    names = {it.signature.name: f"{name}_{i}" for i, it in enumerate(library.function)}
    names[main] = name
    renamed = FunctionDefLibrary()
    for function in library.function:
        copy = renamed.function.add()
        copy.CopyFrom(function)
        copy.signature.name = names[function.signature.name]
        for called in _references(copy):
            called.name = names.get(called.name, called.name)
        for node in copy.node_def:
            node.op = names.get(node.op, node.op)
        if with_xla and copy.signature.name == name:
            copy.attr["_XlaMustCompile"].CopyFrom(AttrValue(b=True))
    return renamed


def _references(function: FunctionDef) -> Iterator[Any]:
    """Yield the attributes of nodes that name a function."""
    for node in function.node_def:
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func
            elif value.HasField("list"):
                yield from value.list.func
