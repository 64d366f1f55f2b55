"""What Redis and the way to it say, in the words of `tau.errors`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tau.errors import CorruptCheckpointError, StoreError, StoreFullError, StoreUnavailableError, TauError
from tau.stores.redis.protocol import ServerError


class _Known(NamedTuple):
    remedy: str
    transient: bool = True
    kind: type[StoreError] = StoreUnavailableError


NO_CLUSTER: Final = (
    "the server is part of a Redis Cluster, where the keys of a run lie on several servers; name one without "
    "cluster mode (replicas are fine)"
)
_REFUSED: Final = _Known("check user and password in the URL (or in REDIS_URL)", transient=False)
_CLUSTER: Final = _Known(NO_CLUSTER, transient=False)
_LARGE: Final = _Known("Redis holds values up to 512 MB (proto-max-bulk-len): split this one", kind=StoreFullError)

# By the first word of an error.
_KNOWN: Final = {
    "OOM": _Known("raise maxmemory of the server, or delete runs (tau delete)", kind=StoreFullError),
    "READONLY": _Known("the server is a replica: name the primary, or wait until it is one"),
    "LOADING": _Known("the server reads its files: wait for it"),
    "MASTERDOWN": _Known("the server is a replica that has lost its primary: wait, or name the primary"),
    "MISCONF": _Known("the server cannot write its files: see its log and its disk"),
    "NOREPLICAS": _Known("the server waits for replicas (min-replicas-to-write): see to them"),
    "BUSY": _Known("a script keeps the server busy: wait, or end it (SCRIPT KILL)"),
    "NOAUTH": _REFUSED,
    "WRONGPASS": _REFUSED,
    "NOPERM": _Known(
        "this user lacks rights: give it ~tau:* +@read +@connection +select +time, and to write also +@write "
        "+@scripting +config|get",
        transient=False,
    ),
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
}
# By words in the text, for those that have no word of their own.
_IN_TEXT: Final = {
    "No space left on device": _Known("free some space on the server", kind=StoreFullError),
    "max number of clients": _Known("raise maxclients of the server, or use fewer connections (max_connections=)"),
    "DB index is out of range": _Known(
        "the server has fewer databases: name another number, or raise databases", transient=False
    ),
    "unknown command": _Known("tau needs Redis 6 or newer, or Valkey, with its core commands enabled", transient=False),
    "Protocol error": _LARGE,
    "maximum allowed size": _LARGE,
    "invalid username-password": _REFUSED,
}


def failure(error: ServerError, location: str, doing: str, hide: Callable[[str], str]) -> TauError:
    """The error for one that the server answered, met while ``doing`` something (as in "commit to"); ``hide`` masks the
    password."""
    said = f"cannot {doing} {location}: the server says {hide(str(error))[:300]!r}"
    if error.code == "WRONGTYPE":
        return CorruptCheckpointError(
            f"{said}; a key that begins with tau: was made by something else: restore it from a backup", what=location
        )
    known = next((known for words, known in _IN_TEXT.items() if words in str(error)), None) or _KNOWN.get(error.code)
    if known is None:
        return StoreError(f"{said}; see the server's log", location=location)
    return _made(f"{said}; {known.remedy}", known, location)


def lost(error: Exception, location: str, doing: str) -> StoreError:
    """The error for a connection that broke, or could not be had."""
    said = f"cannot {doing} {location}: {error}"
    return _made(f"{said}; check that the server is up, its host and port, and the network", _Known(""), location)


def _made(said: str, known: _Known, location: str) -> StoreError:
    if known.kind is StoreFullError:
        return StoreFullError(said, location=location)
    return StoreUnavailableError(said, location=location, transient=known.transient)
