"""Seeds for random numbers that come out alike in every attempt, process and order of work.

A seed is a hash of the run's own seed, the visit and the names that the caller gives. So nothing has to be stored or
drawn in order: a piece of work that is done again, or by another process, or before the others, draws what it would
have drawn.
"""

from __future__ import annotations

from hashlib import sha256
from numbers import Integral
from typing import Any, Final

from tau.errors import ConfigError
from tau.log.records import Scope

BITS: Final = 63
"""A seed is a number from 0 to 2**63 - 1, which NumPy, PyTorch, JAX and `random` all take."""


def checked_seed(value: Any) -> int | None:
    """``value`` if it is the seed of a run, or ``None``. Raises `ConfigError`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 1 << BITS:
        raise ConfigError(f"seed: expected a number from 0 to 2**63 - 1, or None for a new one, found {value!r:.80}")
    return int(value)


def derive(seed: int, node: str, visit: int, names: tuple[Any, ...], *, inside: Scope = ()) -> int:
    """The seed for these names in that visit, of a graph ``inside`` other nodes perhaps. Raises `ConfigError` for a
    name that is neither text nor a number."""
    outer = b"".join(b"in" + _part(one) + _part(number) + _part(branch) for one, number, branch in inside)
    parts = [seed, node, visit, *(_checked(name) for name in names)]
    return _number(outer + b"".join(_part(part) for part in parts))


def of_run(run_id: str) -> int:
    """The seed of a run that was admitted without one, by a version before there were seeds or by hand."""
    return _number(_part(run_id))


def _checked(name: Any) -> str | int:
    if type(name) is str or type(name) is int:
        return name
    if isinstance(name, bool) or not isinstance(name, str | Integral):
        raise ConfigError(f"a seed is named by text and whole numbers, found {type(name).__name__}: {name!r:.80}")
    return str(name) if isinstance(name, str) else int(name)


def _part(value: str | int) -> bytes:
    """With its kind and length, so that no two lists of parts are joined to the same bytes."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"%d" % value
    return b"%c%d:%b" % (b"s" if isinstance(value, str) else b"i", len(data), data)


def _number(data: bytes) -> int:
    return int.from_bytes(sha256(data).digest()[:8], "big") >> (64 - BITS)
