"""Which names the values of a state and runs may have."""

from __future__ import annotations

from typing import Any

from tau.errors import ConfigError, UnserializableError


def check_key(key: Any, node: str | None, source: str = "the input") -> str:
    """``key`` if it can be a name in the state: text without lone surrogates; a subclass of `str` as a plain `str`.
    Without a ``node``, ``source`` says where it comes from."""
    if type(key) is not str and isinstance(key, str):  # NumPy's text, a member of an enum
        key = str.__str__(key)
    if type(key) is not str:
        kind, why = type(key).__name__, "names in the state must be text"
    else:
        try:
            key.encode()
            return key
        except UnicodeEncodeError:
            kind, why = "str", "it has a lone surrogate"
    set_by = f"{source} has" if node is None else f"node {node!r} set"
    raise UnserializableError(
        f"{set_by} the key {key!r}, which cannot be stored: {why}",
        key=str(key),
        node=node,
        path=f"state[{key!r}]",
        type_name=kind,
    )


def check_run_id(run_id: str) -> str:
    """``run_id`` if it is text of 1 to 1,024 characters without NUL or lone surrogates; `ConfigError` otherwise."""
    if type(run_id) is not str:
        raise ConfigError(f"a run id must be text, found {type(run_id).__name__}; give a string")
    if not run_id:
        raise ConfigError("a run id has 1 to 1,024 characters, this one is empty; a new run without one is given one")
    if len(run_id) > 1024:
        raise ConfigError(f"a run id has 1 to 1,024 characters, this one has {len(run_id)}; shorten it")
    if "\0" in run_id:
        raise ConfigError(f"the run id {run_id[:80]!r} contains NUL; remove it")
    try:
        run_id.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the run id {run_id[:80]!r} contains a lone surrogate; remove it") from None
    return run_id
