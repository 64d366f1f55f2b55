"""`tau.check`: whether a value would be stored."""

from __future__ import annotations

from typing import Any

from tau.values.encoding import encode
from tau.values.refusal import Refused, error_of


def check(value: Any) -> None:
    """Return if a value could be kept in the state of a run, and would come back exactly; otherwise say why not.

    It is encoded as for a store, which takes as long. Raises `UnserializableError`, whose message names the part of the
    value that cannot be stored, its type and what to do instead (``.path`` leads to it), and `LimitExceededError` for a
    value that is too deep or too large.

    >>> import tau
    >>> tau.check({"years": (1958, 2024), "mean": float("nan")})
    >>> try:
    ...     tau.check({"rows": [1, print]})
    ... except tau.UnserializableError as error:
    ...     print(error.path, error.type_name)
    value['rows'][1] builtin_function_or_method
    """
    try:
        encode(value)
    except Refused as refused:
        path = f"value{refused.path}"
        raise error_of(refused, f"{path} is", path) from None
