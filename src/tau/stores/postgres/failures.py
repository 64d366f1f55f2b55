"""What PostgreSQL and psycopg say, in the words of `tau.errors`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import psycopg

from tau.errors import CorruptCheckpointError, StoreError, StoreFullError, StoreUnavailableError, TauError


class _Known(NamedTuple):
    remedy: str
    transient: bool = True
    kind: type[StoreError] = StoreUnavailableError


_SHUT_DOWN: Final = _Known("the server is being stopped or started: wait for it")
_BUSY: Final = _Known("another transaction was in the way: try again")
_NOT_THERE: Final = _Known("create the database (createdb), or name another one", transient=False)
_REFUSED: Final = _Known(
    "check user and password (in the URL, PGPASSWORD or ~/.pgpass) and the server's pg_hba.conf", transient=False
)

# By the whole SQLSTATE, or by its first two characters.
_KNOWN: Final = {
    "53100": _Known("free some space on the server", kind=StoreFullError),
    "53200": _Known("the server is short of memory: wait, or give it more"),
    "53300": _Known("raise max_connections of the server, or put a pooler (PgBouncer) before it"),
    "53": _Known("the server is short of something: see its log"),
    "54": _Known("PostgreSQL holds values up to 1 GB: split this one", kind=StoreFullError),
    "42501": _Known(
        "this role lacks rights: grant usage on schema tau, and select, insert, update and delete on its tables (only "
        "select for those who only read); for the first commit of a store let it create the schema, or create it for "
        "it (create schema tau authorization ROLE)",
        transient=False,
    ),
    "25006": _Known(
        "the server is a standby, or the role or database is read-only: name the primary (with several hosts, "
        "?target_session_attrs=read-write), or another role",
        transient=False,
    ),
    "42P01": _Known("the tables of the schema tau are gone: restore them, or close the store to begin anew", False),
    "3F000": _Known("the schema tau is gone: restore it, or close the store to begin anew", transient=False),
    "3D000": _NOT_THERE,
    "28": _REFUSED,
    "57P": _SHUT_DOWN,
    "57014": _Known("the server cancelled it: raise statement_timeout for this role, or try again"),
    "25P03": _BUSY,
    "55P03": _BUSY,
    "40": _BUSY,
    "58": _Known("the server's disk failed: see its log", transient=False),
    "08": _Known("the connection broke: check server and network"),
}
_DAMAGED: Final = {"XX001", "XX002"}
# A server that refuses a session says so without a SQLSTATE; what it says may be translated.
_AT_THE_DOOR: Final = {
    "password authentication failed": _REFUSED,
    "no password supplied": _REFUSED,
    "no pg_hba.conf entry": _REFUSED,
    "authentication failed": _REFUSED,
    "too many": _KNOWN["53300"],
    "remaining connection slots": _KNOWN["53300"],
    "starting up": _SHUT_DOWN,
    "shutting down": _SHUT_DOWN,
    "in recovery mode": _SHUT_DOWN,
    "not yet accepting connections": _SHUT_DOWN,
    "session is read-only": _Known("none of the hosts takes writes at the moment: wait for a primary"),
    "session is not read-only": _Known("none of the hosts is what target_session_attrs asks for"),
    "role ": _REFUSED,
    "database ": _NOT_THERE,
}


def failure(error: psycopg.Error, location: str, doing: str, hide: Callable[[str], str]) -> TauError:
    """The error for one of a statement, met while ``doing`` something (as in "commit to"); ``hide`` masks passwords."""
    state = error.sqlstate or ""
    text = error.diag.message_primary or str(error).strip()
    said = f"cannot {doing} {location}: PostgreSQL says {hide(text)!r}"
    if not state:
        known = _KNOWN["08"] if isinstance(error, psycopg.OperationalError) else None
    elif state in _DAMAGED:
        return CorruptCheckpointError(
            f"{said}; the server's files are damaged: see its log, and restore it from a backup", what=location
        )
    else:
        known = _KNOWN.get(state) or _KNOWN.get(state[:3]) or _KNOWN.get(state[:2])
    return _made(said, known, location, f"see the server's log (SQLSTATE {state or 'none'})")


def refusal(error: psycopg.Error, location: str, hide: Callable[[str], str]) -> StoreError:
    """The error for a server that lets no session begin."""
    text = hide(" ".join(str(error).split()))
    known = next((known for words, known in _AT_THE_DOOR.items() if words in text), None)
    if known is None and error.pgconn is not None and (error.pgconn.needs_password or error.pgconn.used_password):
        known = _REFUSED
    known = known or _Known("check that the server is up, its host and port, and the network")
    return _made(f"cannot open {location}: {text}", known, location, "")


def _made(said: str, known: _Known | None, location: str, otherwise: str) -> StoreError:
    if known is None:
        return StoreError(f"{said}; {otherwise}", location=location)
    if known.kind is StoreFullError:
        return StoreFullError(f"{said}; {known.remedy}", location=location)
    return StoreUnavailableError(f"{said}; {known.remedy}", location=location, transient=known.transient)
