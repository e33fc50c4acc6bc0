"""What every dataclass of the schema shares: unknown keys and loose types are refused."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.errors import UserError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Name = Annotated[str, Field(min_length=1)]
T = TypeVar("T")


def read_settings(
    schema: TypeAdapter[T], key: str, settings: Mapping[str, Any], depth: int = 1
) -> T:
    """Return settings of Hydra's own groups, checked.

    Args:
        schema: What they are read into.
        key: Where they stand, such as hydra.launcher.
        settings: By name.
        depth: How many names below `key` a refusal gives.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    try:
        return schema.validate_json(json.dumps(dict(settings)))  # reads lists into tuples
    except ValidationError as error:
        refused = "\n".join(
            f"  {'.'.join([key, *map(str, detail['loc'][:depth])])}: expected "
            f"{detail['msg'].removeprefix('Input should be ')}. Received: {detail['input']!r}"
            for detail in error.errors()
        )
        raise UserError(f"Configuration refused:\n{refused}") from error
