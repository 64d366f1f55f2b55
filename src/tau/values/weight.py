"""Which values take long to write, judged by a look at them."""

from __future__ import annotations

from typing import Any, Final

LARGE: Final = 1 << 20  # bytes
_TEXTS: Final = frozenset({bytes, str, bytearray})
_SMALL: Final = frozenset({int, float, bool, type(None), dict, list, tuple})
_LIBRARIES: Final = frozenset({"numpy", "pandas", "pyarrow", "polars", "xarray"})


def is_large(value: Any) -> bool:
    """Whether this is text, bytes, an array or a table of more than a MB; what others hold is not looked at."""
    kind = type(value)
    if kind in _TEXTS:
        return len(value) > LARGE
    if kind in _SMALL:
        return False
    library = kind.__module__.partition(".")[0]
    if library not in _LIBRARIES:
        return False
    size = getattr(value, "nbytes", None)
    if size is None:  # tables of pandas and Polars; a cell takes eight bytes or so
        shape = getattr(value, "shape", ())
        size = 8 * shape[0] * shape[1] if type(shape) is tuple and len(shape) == 2 else 0
    return isinstance(size, int) and size > LARGE
