"""Programs kept for later trainings of the process: further jobs of a sweep compile nothing."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from pipeline.config import TrainingConfig
from pipeline.training.prepared import Layout
from pipeline.training.program import Program

MOST = 8  # programs kept; the one not used for longest goes first

_kept: OrderedDict[str, Program] = OrderedDict()


def kept_program(
    model: str,
    config: TrainingConfig,
    layout: Layout,
    n_steps: int | None,
    make: Callable[[], Program],
) -> Program:
    """Return a program made before for the same model, rule and layout, else a new one.

    Args:
        model: Tells one architecture from another.
        config: How it is trained. What the program takes as an argument may differ: the learning
            rate, unless a schedule makes it part of the program, and the sizes of stacks.
        layout: Of the preparations.
        n_steps: Of the whole training, which a schedule knows; None without one.
        make: Makes the program.
    """
    rule = replace(config, epochs=1, batch_size=1, stack_size=None, threads=None)
    if config.schedule is None:
        rule = replace(rule, learning_rate=1.0)
    key = repr((model, rule, layout, n_steps))
    if key not in _kept:
        _kept[key] = make()
    _kept.move_to_end(key)
    if len(_kept) > MOST:
        _kept.popitem(last=False)
    return _kept[key]
