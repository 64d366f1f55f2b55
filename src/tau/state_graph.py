"""`StateGraph`: a graph that can be run, resumed and asked about its runs.

Each group of verbs has a file in ``tau.verbs``: ``running`` (execute, resume), ``streaming`` (astream), ``replaying``,
``admitting`` (admit, wait), ``answering`` (answer, pauses), ``inspecting`` (plan, history, runs, failure), ``forking``
(fork, cancel). How nodes and edges are added is in ``tau.graph``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tau.config import ObserverSpec
from tau.late_imports import load_module
from tau.spelling import did_you_mean, names_keywords
from tau.verbs.admitting import Admitting
from tau.verbs.answering import Answering
from tau.verbs.forking import Forking
from tau.verbs.inspecting import Inspecting
from tau.verbs.replaying import Replaying
from tau.verbs.running import Model
from tau.verbs.streaming import Streaming

if TYPE_CHECKING:
    import os

    from tau.config import GraphConfig
    from tau.stores.contract import Store
    from tau.stores.user_store import FourVerbs


class StateGraph(Streaming[Model], Replaying[Model], Admitting[Model], Answering, Inspecting, Forking):
    """A state graph with its observer and store.

    Made from a `GraphConfig`, or from a name. With a name and a store, every finished node is saved and finished runs
    are kept; there is no observer unless one is given. ``store`` is a URL, a path (an existing directory is a file
    store, anything else a SQLite file), a registered name, or a store; given together with a config, it replaces only
    the config's store. Thread-safe once it has run. Raises `ConfigError` for a ``store`` together with a config of
    interval 0, `UnknownStoreError` and `UnknownObserverError` for names that are not registered, `GraphError` for a
    name that a graph cannot have.

    ``schema``: a TypedDict, a dataclass, a pydantic model or a msgspec Struct, which says what the state holds. The
    input of a run and what nodes change is validated; a node whose first parameter is annotated with the class, or one
    with some of its fields, gets an instance of it. Raises `ConfigError` for another class.

    >>> from tau import StateGraph
    >>> graph = StateGraph("squares", store="sqlite:///tau.db")
    >>> @graph.node
    ... def read(state):
    ...     return {"numbers": list(range(state["count"]))}
    >>> @graph.node
    ... def add_up(state):
    ...     return {"sum": sum(n * n for n in state["numbers"])}
    >>> graph.sequence(read, add_up)
    >>> graph.execute({"count": 4}, run_id="squares-1")["sum"]
    14
    """

    @names_keywords
    def __init__(
        self,
        config: GraphConfig | str,
        *,
        schema: type[Model] | None = None,
        observer: ObserverSpec = None,
        store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    ) -> None:
        super().__init__(config, schema=schema, observer=observer, store=store)

    if not TYPE_CHECKING:  # a type checker knows all names; without one, the error says what was meant

        def __getattr__(self, name: str) -> Any:
            hint = load_module("tau.other_words").OF_GRAPHS.get(name)
            near = f": {hint}" if hint else "" if name.startswith("_") else did_you_mean(name, dir(self))
            raise AttributeError(f"a StateGraph has no {name!r}{near}", name=name, obj=self)
