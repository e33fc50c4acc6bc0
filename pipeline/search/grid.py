"""Every combination of a space, by its place: the last parameter varies fastest."""

from math import prod

from pipeline.errors import UserError
from pipeline.search.space import Parameter, Space


def grid_size(space: Space) -> int:
    """Return how many combinations there are.

    Raises:
        UserError: If a parameter has more values than can be counted.
    """
    return prod(_size(key, parameter) for key, parameter in space.parameters.items())


def grid_values(space: Space, place: int) -> dict[str, float | str]:
    """Return the combination in that place, from 0."""
    values: dict[str, float | str] = {}
    for key, parameter in reversed(space.parameters.items()):
        place, digit = divmod(place, _size(key, parameter))
        values[key] = parameter.value(digit)
    return {key: values[key] for key in space.parameters}


def _size(key: str, parameter: Parameter) -> int:
    if parameter.size is None:
        raise UserError(
            f"{key}: expected values that a grid can count, as choice(0.1,0.2) or "
            "range(0,0.5,0.1). Received: an interval of any number"
        )
    return parameter.size
