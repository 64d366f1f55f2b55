"""State graphs for work too long, too expensive or too important to start again.

Nodes are plain Python functions. What one returns is stored before the next one begins, so a kill
at any moment costs at most the node in flight: the same call, made again, goes on from there.

>>> from tau import StateGraph
>>> def ingest(state):
...     return {"co2": [315.98, 316.91, 317.64, 318.45]}
>>> def analyze(state):
...     return {"growth": (state["co2"][-1] - state["co2"][0]) / 3}
>>> def report(state):
...     return {"text": f"CO2 at {state['station']} grew by {state['growth']:.2f} ppm a year"}
>>> graph = StateGraph("climate", store="sqlite:///tau.db")
>>> graph.sequence(ingest, analyze, report)
>>> final = graph.execute({"station": "Mauna Loa"}, run_id="co2", if_exists="resume")
>>> final["text"]
'CO2 at Mauna Loa grew by 0.82 ppm a year'

Where to go on, each with ``help(...)``:

- `tau.StateGraph`: nodes, edges, and the verbs that run a graph; `tau.StateGraph.execute` first.
- `tau.State`: what a node is given, and what a run ends with.
- `tau.Context`: the second parameter of a node: steps, maps, questions, files.
- `tau.GraphConfig`, `tau.CheckpointConfig`, `tau.Retry`: the configuration.
- `tau.key_equals` and its like: conditions on edges.
- `tau.open_store`: the stored runs; `tau.worker`: runs that others take over.
- `tau.process_parallel`, `tau.process_chain`: many items; `tau.graph_node`: a graph in a node.
- `tau.agents`: calls to models, each paid for once; `tau.hub`: agents that write to each other.
- `tau.observers`: who is told of a run; `tau.testing`: kills, real and simulated.
- `tau.TauError`: what is raised; `tau.errors`: all of it as a tree.

``tau --help`` lists the commands, ``tau.__all__`` the names. What follows is everything about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tau import platforms  # noqa: F401 - before all that needs what Windows lacks
from tau.config import CheckpointConfig, GraphConfig, Retention, Retry
from tau.engine.stop import Stop, stop_on
from tau.errors import (
    AgentError,
    AnsweredError,
    AnswerError,
    ArtifactError,
    BranchError,
    ChainError,
    CheckpointNotFoundError,
    ConditionalError,
    ConfigError,
    CorruptCheckpointError,
    ExecutionError,
    ExecutorError,
    GraphChangedError,
    GraphError,
    HubError,
    LeaseLostError,
    LimitExceededError,
    MergeError,
    NodeTimeoutError,
    ParallelError,
    PauseExpiredError,
    PauseNotFoundError,
    RemoteError,
    ReplayError,
    RunCancelledError,
    RunExistsError,
    RunFinishedError,
    RunInterruptedError,
    RunOwnedError,
    RunWaitingError,
    SchemaError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TaskError,
    TauError,
    UnknownObserverError,
    UnknownStoreError,
    UnserializableError,
    UnsupportedFormatError,
    WaitTimeoutError,
    WorkerError,
)
from tau.events import Event
from tau.graph.edges import END, START
from tau.late_imports import load_module
from tau.observers import register_observer
from tau.predicates import always, and_, key_equals, key_exists, not_, or_
from tau.state import State
from tau.state_graph import StateGraph
from tau.values import register_type
from tau.values.types.artifact import Artifact
from tau.version import __version__

if TYPE_CHECKING:
    from tau import agents, hub, observers, testing
    from tau.engine.plan import ResumePlan
    from tau.graph.branches import branches_node, graph_node
    from tau.hub.hub import Hub
    from tau.hub.message import Message
    from tau.log.answers import OpenPause
    from tau.log.history import Checkpoint
    from tau.log.run_failure import RunFailure
    from tau.node.context import Context, current
    from tau.node.pauses import pause_node
    from tau.operations.report import WorkerReport
    from tau.operations.retention import Collected, Removal, collect_runs
    from tau.operations.stats import RunStats, Stats, stats
    from tau.operations.transfer import Transfer, copy_run, export_run, import_run
    from tau.operations.verify import Damage, Verification, verify
    from tau.operations.worker import worker
    from tau.stores import Summary, open_store, register_store
    from tau.values.check import check
    from tau.workflows.chain import ChainResult, process_chain
    from tau.workflows.conditional import Routes, process_conditional
    from tau.workflows.config import ChainConfig, ConditionalConfig, ParallelConfig
    from tau.workflows.nodes import chain_node, conditional_node, parallel_node
    from tau.workflows.outcomes import ParallelResult
    from tau.workflows.parallel import process_parallel

__all__ = [
    "END",
    "START",
    "AgentError",
    "AnswerError",
    "AnsweredError",
    "Artifact",
    "ArtifactError",
    "BranchError",
    "ChainConfig",
    "ChainError",
    "ChainResult",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointNotFoundError",
    "Collected",
    "ConditionalConfig",
    "ConditionalError",
    "ConfigError",
    "Context",
    "CorruptCheckpointError",
    "Damage",
    "Event",
    "ExecutionError",
    "ExecutorError",
    "GraphChangedError",
    "GraphConfig",
    "GraphError",
    "Hub",
    "HubError",
    "LeaseLostError",
    "LimitExceededError",
    "MergeError",
    "Message",
    "NodeTimeoutError",
    "OpenPause",
    "ParallelConfig",
    "ParallelError",
    "ParallelResult",
    "PauseExpiredError",
    "PauseNotFoundError",
    "RemoteError",
    "Removal",
    "ReplayError",
    "ResumePlan",
    "Retention",
    "Retry",
    "Routes",
    "RunCancelledError",
    "RunExistsError",
    "RunFailure",
    "RunFinishedError",
    "RunInterruptedError",
    "RunOwnedError",
    "RunStats",
    "RunWaitingError",
    "SchemaError",
    "State",
    "StateGraph",
    "Stats",
    "Stop",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "Summary",
    "TaskError",
    "TauError",
    "Transfer",
    "UnknownObserverError",
    "UnknownStoreError",
    "UnserializableError",
    "UnsupportedFormatError",
    "Verification",
    "WaitTimeoutError",
    "WorkerError",
    "WorkerReport",
    "__version__",
    "agents",
    "always",
    "and_",
    "branches_node",
    "chain_node",
    "check",
    "collect_runs",
    "conditional_node",
    "copy_run",
    "current",
    "export_run",
    "graph_node",
    "hub",
    "import_run",
    "key_equals",
    "key_exists",
    "not_",
    "observers",
    "open_store",
    "or_",
    "parallel_node",
    "pause_node",
    "process_chain",
    "process_conditional",
    "process_parallel",
    "register_observer",
    "register_store",
    "register_type",
    "stats",
    "stop_on",
    "testing",
    "verify",
    "worker",
]


_LATE = {
    "ChainConfig": "tau.workflows.config",
    "ChainResult": "tau.workflows.chain",
    "ConditionalConfig": "tau.workflows.config",
    "ParallelConfig": "tau.workflows.config",
    "Collected": "tau.operations.retention",
    "Damage": "tau.operations.verify",
    "Hub": "tau.hub.hub",
    "Message": "tau.hub.message",
    "OpenPause": "tau.log.answers",
    "ParallelResult": "tau.workflows.outcomes",
    "Routes": "tau.workflows.conditional",
    "Removal": "tau.operations.retention",
    "Checkpoint": "tau.log.history",
    "Context": "tau.node.context",
    "ResumePlan": "tau.engine.plan",
    "RunFailure": "tau.log.run_failure",
    "RunStats": "tau.operations.stats",
    "Stats": "tau.operations.stats",
    "Summary": "tau.stores",
    "Transfer": "tau.operations.transfer",
    "Verification": "tau.operations.verify",
    "branches_node": "tau.graph.branches",
    "chain_node": "tau.workflows.nodes",
    "check": "tau.values.check",
    "collect_runs": "tau.operations.retention",
    "conditional_node": "tau.workflows.nodes",
    "copy_run": "tau.operations.transfer",
    "current": "tau.node.context",
    "export_run": "tau.operations.transfer",
    "graph_node": "tau.graph.branches",
    "import_run": "tau.operations.transfer",
    "open_store": "tau.stores",
    "parallel_node": "tau.workflows.nodes",
    "pause_node": "tau.node.pauses",
    "process_chain": "tau.workflows.chain",
    "process_conditional": "tau.workflows.conditional",
    "process_parallel": "tau.workflows.parallel",
    "register_store": "tau.stores",
    "WorkerReport": "tau.operations.report",
    "stats": "tau.operations.stats",
    "verify": "tau.operations.verify",
    "worker": "tau.operations.worker",
}
"""Where the names are that are loaded at first use."""


def __getattr__(name: str) -> Any:
    if name in ("agents", "hub", "observers", "stores", "testing"):
        return load_module(f"tau.{name}")
    if name in _LATE:
        found = globals()[name] = getattr(load_module(_LATE[name]), name)
        return found
    hint = load_module("tau.other_words").OF_TAU.get(name)
    raise AttributeError(f"module 'tau' has no attribute {name!r}{f': {hint}' if hint else ''}", name=name)


def __dir__() -> list[str]:
    return sorted(__all__)
