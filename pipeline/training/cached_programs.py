"""Cache of compiled programs, so that later jobs of a sweep skip compilation."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from pipeline.config import TrainingConfig
from pipeline.training.compiled import Program
from pipeline.training.stack_plan import ProgramKey

MAX_CACHED_PROGRAMS = 8
_cache: OrderedDict[str, Program] = OrderedDict()  # least recently used first


def cached_program(
    architecture: str, config: TrainingConfig, key: ProgramKey, make: Callable[[str], Program]
) -> Program:
    """Return the cached program of an equal training, or make and cache a new one.

    Args:
        architecture: Identifies the model.
        config: Settings of the training. Settings that are inputs of the program may differ:
            epochs, batch size, the size of stacks, weights of labels, and the learning rate (which
            is an optimizer variable) unless a schedule makes it part of the program.
        key: Layout of the preprocessing and length of the schedule.
        make: Makes the program, given what identifies it.
    """
    compiled = replace(config, epochs=1, batch_size=1, fits_per_program=None, n_threads=None)
    if config.label_weights is not None:
        compiled = replace(compiled, label_weights=())
    if config.lr_schedule is None:
        compiled = replace(compiled, learning_rate=1.0)
    cache_key = repr((architecture, compiled, key))
    if cache_key not in _cache:
        _cache[cache_key] = make(cache_key)
    _cache.move_to_end(cache_key)
    if len(_cache) > MAX_CACHED_PROGRAMS:
        _cache.popitem(last=False)
    return _cache[cache_key]
