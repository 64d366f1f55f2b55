"""Which store a command works on."""

from __future__ import annotations

import os

from tau.cli.beside import said_beside
from tau.cli.ids import meant_by
from tau.cli.outcome import Session, complain
from tau.cli.targets import Project
from tau.errors import CheckpointNotFoundError, ConfigError
from tau.spelling import did_you_mean
from tau.state_graph import StateGraph
from tau.stores import Store, Summary, mounts, open_store
from tau.stores.contract import Query
from tau.stores.failures import from_os
from tau.stores.summaries import GONE
from tau.stores.urls import for_a_command, parse

VARIABLE = "TAU_STORE"
LOOKED_AT = 1_000
"""So many runs, the newest, are compared with a run id that is not known."""


def default_url(project: Project) -> str:
    """The store where neither the command line nor the graph names one: TAU_STORE, pyproject.toml, or ``tau.db`` here.

    On a network file system, which SQLite cannot be trusted with, it is a directory ``tau-runs`` instead.
    """
    named = os.environ.get(VARIABLE) or project.store
    if named:
        return named
    return url_in("", "tau.db", "tau-runs")


def url_in(place: str, database: str, folder: str) -> str:
    """A SQLite store in the directory ``place`` ("" for the working directory), a file store where that is not safe."""
    if mounts.kind_of(os.path.join(place, database)) in mounts.NETWORK:
        return f"file:{os.path.join(place, folder)}"
    return f"sqlite:///{os.path.join(place, database)}"


def furnish(graph: StateGraph, option: str | None, project: Project, session: Session) -> None:
    """Give the graph the store of ``--store``, or the default one where it has none."""
    if option is not None:
        graph.use_store(option)
        session.hides = for_a_command(option) != option
    elif graph.config.checkpoint.interval == 0:
        graph.use_store(default_url(project))
        session.is_default = True
    else:
        own = graph.config.checkpoint.store
        session.hides = isinstance(own, str) and for_a_command(own) != own
        session.is_default = _is_default(graph.store, project)
    session.store = graph.store.location
    if session.store == "memory:":
        complain("this graph keeps its runs in memory: they are gone when this command ends; --store URL keeps them")


def _is_default(store: Store, project: Project) -> bool:
    """Whether a command without ``--store`` finds that store, too."""
    try:
        return parse(default_url(project)).path == parse(store.location).path != ""
    except ConfigError:  # a name, or what is no URL
        return False


def reading(option: str | None, project: Project, session: Session) -> Store | None:
    """The store to look into; ``None`` where nothing was ever stored there, since looking must not create it."""
    store = opened(option, project, session)
    return store if is_there(store) else None


def opened(option: str | None, project: Project, session: Session) -> Store:
    """The store of an option, or the default one, which is what the session is about from now on."""
    store = open_store(option if option is not None else default_url(project))
    session.store, session.is_default = store.location, option is None
    session.hides = option is not None and for_a_command(option) != option
    return store


def note_nothing(said: str, session: Session) -> None:
    """Remark that there is nothing, and where the default store was looked into, what names another."""
    complain(said)
    if session.is_default:
        complain(said_beside(session.store) or f"--store URL names another store, and {VARIABLE} one for all commands")


def note_none(said: str, place: Store, session: Session, *, graph: str | None = None, tag: str | None = None) -> None:
    """Remark that there is nothing of that graph or tag, and which one may be meant."""
    complain(f"{said} in {session.store}{near_names(place, graph, tag)}")


def near_names(place: Store, graph: str | None, tag: str | None = None) -> str:
    """The graph or tag that is meant, where no run has the one that is asked for."""
    rows = place.select(Query(limit=LOOKED_AT)) if graph or tag else ()
    graphs, tags = {row.graph for row in rows}, {tag for row in rows for tag in row.tags}
    near = "" if graph in graphs else did_you_mean(graph, graphs)
    return near or ("" if tag in tags else did_you_mean(tag, tags))


def is_there(store: Store) -> bool:
    """Whether anything was ever stored there; as far as that can be told without creating it."""
    if store.location.startswith(("sqlite:", "file:")):
        try:
            os.stat(parse(store.location).path)
        except FileNotFoundError:
            return False
        except OSError as error:  # it may be there, as in a directory that this user may not enter
            raise from_os(error, store.location, "look into") from error
    return True


def find(store: Store | None, run_id: str, session: Session, *, changes: bool = False) -> tuple[Store, Summary]:
    """The store and the run in it, of that id or else the only one whose id begins so (see `meant_by`). Raises
    `CheckpointNotFoundError`, `ConfigError`."""
    session.run_id = run_id
    summary = store.summary(run_id) if store is not None else None
    if summary is None and store is not None:
        session.run_id = meant_by(store, run_id, changes=changes) or run_id
        summary = store.summary(session.run_id)
    if store is None or summary is None or summary.status == "deleted":
        why = " (nothing was ever stored there)" if store is None else _alike(store, run_id)
        raise CheckpointNotFoundError(f"no run {run_id!r} in {session.store}{why}", run_id=run_id)
    return store, summary


def find_in(graph: StateGraph, run_id: str, session: Session) -> tuple[Store, Summary]:
    """`find` in the store of a graph, which is not created for this, for what changes the run."""
    return find(graph.store if is_there(graph.store) else None, run_id, session, changes=True)


def _alike(store: Store, run_id: str) -> str:
    """The run that may be meant, where the store holds one of a similar id; or that only a listing knows this one."""
    known = {row.run_id: row.status for row in store.select(Query(limit=LOOKED_AT))}
    if known.get(run_id) == "damaged":
        return f": it is listed, and {GONE}"
    return did_you_mean(run_id, known)


def note_emptied(summary: Summary) -> None:
    """Remark that only the summary of a run is left, where that is so."""
    if summary.base == 0 and summary.status == "finished":
        complain("its checkpoints were deleted: when it finished (preserve=False), or later with --keep-summary")
    elif summary.base == 0:
        complain("its checkpoints were deleted; only its summary was kept (tau delete --keep-summary)")
