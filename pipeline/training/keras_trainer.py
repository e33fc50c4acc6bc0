"""Train all fits of a Keras model in stacks that share compiled programs."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from queue import SimpleQueue
from threading import Event
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.errors import UserError
from pipeline.preprocessing.layer import PreprocessingLayer, weights_of
from pipeline.preprocessing.preprocessor import Layout
from pipeline.runtime import release_memory
from pipeline.scoring import DIVERGED_HINT
from pipeline.training.base import CPU, Device, FitResult, FitSpec, Progress
from pipeline.training.batches import draw_orders
from pipeline.training.cached_programs import cached_program
from pipeline.training.compiled import Program
from pipeline.training.compiled_function import describe_failure, reproducible_sums
from pipeline.training.initial_weights import WeightInitializer
from pipeline.training.memory_plan import plan_training
from pipeline.training.optimization import functional, make_optimizer
from pipeline.training.program_cache import save_programs
from pipeline.training.sparse_network import can_gather
from pipeline.training.stack import StackInputs, State, varied_rows
from pipeline.training.stack_plan import (
    FitGroup,
    ProgramKey,
    depends_on_batch,
    group_fits,
    stack_shapes,
)
from pipeline.training.stack_training import StackTraining


class KerasTrainer:
    """Trains the fits of one architecture on one table, all at once.

    A result depends on the seed and the rows of its fit only, not on stacks or threads.
    """

    unit = "epochs"

    def __init__(
        self,
        build: Callable[[int], keras.Model],
        config: TrainingConfig,
        X: NDArray[np.float32],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
        architecture: str | None = None,
        warnings: Sequence[str] = (),
        label_mask: NDArray[np.bool_] | None = None,
        sample_weight: NDArray[np.float32] | None = None,
        device: Device = CPU,
        code: str | None = None,
    ) -> None:
        """Build the programs and plan the stacks; nothing is compiled yet.

        Args:
            build: Returns the untrained model for a number of input columns. Its randomness must
                come from Keras, NumPy or Python's `random`.
            config: Optimizer, epochs, batch size and other settings of the training.
            X: Encoded features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: All fits.
            architecture: Identifies the model that `build` returns; trainers of one architecture
                share compiled programs. None to share none.
            warnings: Messages for the user about the model.
            label_mask: True where a label is known, of the shape of y; None if all are.
            sample_weight: Weights of the rows in the loss; None for 1.
            device: Processor that trains.
            code: Version of the code behind `architecture`; later processes then reuse the traces
                of the programs. None if the architecture depends on anything else.

        Raises:
            UserError: If the optimizer or one of its parameters is unknown, or a single fit does
                not fit into the memory.
        """
        self.device = device
        self._build, self._config, self._fits = build, config, fits
        self._n_features = X.shape[1]
        self._inputs = StackInputs(config, X, y, fits, label_mask, sample_weight)
        self._n_train = [len(fit.train) for fit in fits]
        keys = [self._program_key(fit) for fit in fits]
        self._programs = {key: self._find_program(architecture, code, key) for key in set(keys)}
        self._optimizer_states = {
            key: program.initial_optimizer_state(config.learning_rate)
            for key, program in self._programs.items()
        }
        network, states = self._programs[keys[0]].network, self._optimizer_states[keys[0]]
        n_optimizer = sum(state.size for state in states)
        self._plan, message = plan_training(config, network, n_optimizer, fits, device)
        self.warnings = [*warnings, *[message] * bool(message)]
        preprocessors = [fit.preprocessor for fit in fits]
        if self._plan.fits_per_program == 1 and can_gather(network, preprocessors, self._inputs.X):
            self._inputs.X = self._inputs.X._replace(is_gathered=True)
        model = network.layers[-1]
        self._shapes = stack_shapes(
            keys,
            self._n_train,
            config.batch_size,
            exact_batches=depends_on_batch(model, varied_rows(fits[0], X)),
        )
        self._initial_states: list[State] = []
        if not all(program.initializer.is_explicit for program in self._programs.values()):
            # Before other threads begin, which could draw from the same generators.
            self._initial_states = [self._initial_state(index) for index in range(len(fits))]
        self._is_compiled = False
        self._stop = Event()

    @property
    def units_per_fit(self) -> int:
        """Largest number of epochs of one fit."""
        return self._config.epochs

    def compile(self) -> None:
        """Compile the program of each stack shape; draw weights and orders of rows meanwhile.

        Tracing holds Python's global lock, so programs are traced one after another; compilation
        releases it and goes on in threads.

        Raises:
            UserError: If the model does not fit into memory or XLA cannot compile it.
        """
        fit_indices = range(len(self._fits))
        with reproducible_sums(), ThreadPoolExecutor(self._plan.n_threads) as executor:
            compilations = [
                executor.submit(call)
                for group in self._group_fits(fit_indices)
                for call in self._trace(group)
            ]
            if not self._initial_states:
                self._initial_states = [self._initial_state(index) for index in fit_indices]
            can_stop = self._config.early_stopping.patience is not None
            n_epochs = self._plan.epochs_per_call if can_stop else self._config.epochs
            draw_orders([(fit.seed, len(fit.train)) for fit in self._fits], n_epochs)
            try:
                for compilation in compilations:
                    compilation.result()
            except tf.errors.OpError as error:
                raise UserError(describe_failure(error)) from error
        save_programs()
        release_memory()
        self._is_compiled = True

    def train(
        self, progress: Progress = lambda n: None, fit_indices: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield the result of each fit, as `Trainer.train` does.

        Epochs that early stopping skips count as progress when their fit has ended.
        """
        self._stop.clear()
        if not self._is_compiled:
            self.compile()
        fit_indices = range(len(self._fits)) if fit_indices is None else fit_indices
        stacks = [
            (first, training)
            for group in self._group_fits(fit_indices)
            for training in [self._stack_training(group)]
            for first in group.firsts
        ]
        done: SimpleQueue[dict[int, FitResult] | Future[None]] = SimpleQueue()

        def train_stack(training: StackTraining) -> None:
            for results in training.run(progress, self._stop.is_set):
                done.put(results)

        with ThreadPoolExecutor(self._plan.n_threads) as executor:
            try:
                for _, training in sorted(stacks, key=itemgetter(0)):
                    executor.submit(train_stack, training).add_done_callback(done.put)
                results: dict[int, FitResult] = {}
                for fit_index in fit_indices:
                    while fit_index not in results:
                        ended = done.get()
                        if isinstance(ended, Future):
                            ended.result()  # raises its error, if any
                        else:
                            results.update(ended)
                    yield results.pop(fit_index)
            finally:
                self.stop()
                executor.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Request an early end of the training, after the current calls of programs."""
        self._stop.set()

    def predict(
        self, result: FitResult, fit: FitSpec, X: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return probabilities as `Trainer.predict` does, by compiled calls."""
        program = self._programs[self._program_key(fit)]
        return program.predict(weights_of(fit.preprocessor), result.weights, X)

    def final_model(self, ensemble: Sequence[FitResult], fit: FitSpec) -> keras.Model:
        """Return the network of one fit, or an ensemble that averages fits of equal preprocessing.

        It takes encoded rows.

        Raises:
            UserError: If a weight is not finite.
        """
        layout = fit.preprocessor.layout
        layer = PreprocessingLayer(layout)
        models = [self._build(layout.n_columns) for _ in ensemble]
        for model, result in zip(models, ensemble, strict=True):
            if not all(np.isfinite(weight).all() for weight in result.weights):
                raise UserError(
                    "Expected finite weights. Received: NaN or infinity in the final model: its "
                    f"training diverged. {DIVERGED_HINT}"
                )
            variables = [*model.trainable_variables, *model.non_trainable_variables]
            for variable, value in zip(variables, result.weights, strict=True):
                variable.assign(value)
        inputs = keras.Input((self._n_features,))
        prepared = layer(inputs)
        for variable, value in zip(layer.weights, weights_of(fit.preprocessor), strict=True):
            variable.assign(value)
        if len(models) == 1:
            return keras.Model(inputs, models[0](prepared))
        for index, model in enumerate(models):
            model.name = f"member_{index}"  # names within a model must differ
        outputs = [model(prepared) for model in models]
        return keras.Model(inputs, keras.layers.Average()(outputs))

    def _program_key(self, fit: FitSpec) -> ProgramKey:
        n_steps = None
        if self._config.lr_schedule is not None:
            n_steps = -(-len(fit.train) // self._config.batch_size) * self._config.epochs
        return ProgramKey(fit.preprocessor.layout, n_steps)

    def _network(self, layout: Layout, model: keras.Model) -> keras.Model:
        """Return the preprocessing layer with an untrained model behind it."""
        inputs = keras.Input((self._n_features,))
        return keras.Sequential([inputs, PreprocessingLayer(layout), model])

    def _find_program(self, architecture: str | None, code: str | None, key: ProgramKey) -> Program:
        build, n_columns = self._build, key.layout.n_columns  # a cached program keeps no trainer

        def make(name: str = "") -> Program:
            optimizer = functional(make_optimizer(self._config, key.n_steps))
            trace_key = code and f"{code} {name}"
            initializer = WeightInitializer(lambda: build(n_columns), trace_key)
            network = self._network(key.layout, initializer.model)
            return Program(network, optimizer, self._config, initializer, trace_key)

        if architecture is None:
            return make()
        return cached_program(f"{architecture} {self._n_features}", self._config, key, make)

    def _initial_state(self, fit_index: int) -> State:
        key, fit = self._shapes[fit_index].key, self._fits[fit_index]
        trainable, non_trainable = self._programs[key].initializer(fit.seed)
        arrays = weights_of(fit.preprocessor)
        return State(trainable, [*arrays, *non_trainable], self._optimizer_states[key])

    def _group_fits(self, fit_indices: Sequence[int]) -> list[FitGroup]:
        return group_fits(fit_indices, self._shapes, self._n_train, self._plan)

    def _stack_training(self, group: FitGroup) -> StackTraining:
        return StackTraining(
            self._programs[group.shape.key],
            self._inputs,
            group,
            self._config.epochs,
            self._plan,
            lambda fit_index: self._initial_states[fit_index],
        )

    def _trace(self, group: FitGroup) -> list[Callable[[], Any]]:
        """Trace the programs of a group; return calls that compile them and train no epoch."""
        network = self._programs[group.shape.key].network
        zeros = State(
            [np.zeros(v.shape, v.dtype) for v in network.trainable_variables],
            [np.zeros(v.shape, v.dtype) for v in network.non_trainable_variables],
            self._optimizer_states[group.shape.key],
        )
        return self._stack_training(group).trace(zeros)
