"""What other workflow libraries call things: the names that people look for first, and what does that here."""

from __future__ import annotations

from typing import Final

OF_GRAPHS: Final = {
    "compile": "a graph needs no compiling: call execute(state)",
    "build": "a graph needs no building: call execute(state)",
    "invoke": "call execute(state), and resume(run_id) to go on with a run",
    "ainvoke": "await aexecute(state), and aresume(run_id) to go on with a run",
    "run": "call execute(state), and resume(run_id) to go on with a run",
    "arun": "await aexecute(state), and aresume(run_id) to go on with a run",
    "stream": "iterate over astream(state) in an event loop, or give execute an observer",
    "iterate": "iterate over astream(state) in an event loop, or give execute an observer",
    "batch": "call execute for each input, or admit(input) and leave the runs to tau.worker",
    "get_state": "take history(run_id)[-1].state; plan(run_id) says what comes next",
    "get_state_history": "call history(run_id)",
    "update_state": "call fork(run_id, changes={...}), which begins a new run and leaves the old one as it is",
    "load": "store.load(run_id) gives the state of a run",
    "get": "store.load(run_id) gives the state of a run",
    "result": "store.load(run_id) gives the state of a run",
    "delete": "store.delete(run_id) deletes a run at once, and cancel(run_id) ends one for good",
    "list": "runs() lists the runs of the graph",
    "list_runs": "runs() lists the runs of the graph",
    "status": "runs() lists the runs with their status",
    "stop": "give execute a Stop, stop=Stop(); cancel(run_id) ends a run for good",
    "retry": "resume(run_id) goes on where a run failed; retry=Retry(attempts=3) of a node has it tried again",
    "set_finish_point": "call set_exit_point(node), or add_edge(node, END)",
    "set_conditional_entry_point": "let a node that returns None be the first, and give it add_conditional_edges",
    "add_sequence": "call sequence(first, second, ...)",
    "add_action": "call add_node(name, function)",
    "with_actions": "call add_node(name, function) for each",
    "with_transitions": "call add_edge(source, target, predicate) for each",
    "get_graph": "call to_text(), to_mermaid() or to_svg()",
    "visualize": "call to_text(), to_mermaid() or to_svg()",
    "serve": "give it to tau.worker, or run `tau worker`",
    "deploy": "give it to tau.worker, or run `tau worker`",
}
"""For `StateGraph`, from LangGraph, Burr and Prefect."""

OF_TAU: Final = {
    "task": "a node of a graph is made by @graph.node, a saved piece of work inside a node by ctx.step(name, function)",
    "action": "a node of a graph is made by @graph.node",
    "flow": "a workflow is a graph: StateGraph(name, store=...)",
    "entrypoint": "a workflow is a graph: StateGraph(name, store=...)",
    "Application": "a workflow is a graph: StateGraph(name, store=...)",
    "ApplicationBuilder": "a workflow is a graph: StateGraph(name, store=...)",
    "MemorySaver": "give the graph a store: StateGraph(name, store='memory:')",
    "InMemorySaver": "give the graph a store: StateGraph(name, store='memory:')",
    "SqliteSaver": "give the graph a store: StateGraph(name, store='sqlite:///tau.db')",
    "interrupt": "a node asks by ctx.ask(name), or is a question: pause_node(name)",
    "Command": "where to go next is said by edges, or by a function: graph.add_conditional_edges(node, function)",
    "Send": "several pieces of work are ctx.map or process_parallel in one node, several nodes at once a branches_node",
    "RetryPolicy": "a node is tried again with add_node(..., retry=Retry(attempts=3))",
    "Agent": "agents have a module of their own: from tau.agents import Agent",
    "AgentConfig": "agents have a module of their own: from tau.agents import AgentConfig",
    "DefaultGraphConfig": "GraphConfig(name) has the defaults",
}
"""For the module ``tau``, from these and from go-agents-orchestration."""

OF_KEYWORDS: Final = {
    "thread_id": "run_id",
    "workflow_id": "run_id",
    "checkpointer": "store",
    "backend": "store",
    "state_schema": "schema",
    "retry_policy": "retry",
}
"""For keywords of functions that take the other one."""

OF_COMMANDS: Final = {
    "list": "tau runs lists the runs of a store",
    "ls": "tau runs lists the runs of a store",
    "status": "tau runs lists the runs with their status, tau show RUN_ID shows one",
    "plan": "tau resume RUN_ID TARGET --plan says what a resume would run",
    "log": "tau history RUN_ID shows the log of a run",
    "logs": "tau history RUN_ID shows the log of a run",
    "stop": "tau cancel RUN_ID ends a run for good; Ctrl-C stops one that can be resumed",
    "kill": "tau cancel RUN_ID ends a run for good; Ctrl-C stops one that can be resumed",
    "retry": "tau resume RUN_ID TARGET goes on where the run failed",
    "start": "tau run TARGET begins a run",
}
"""For `tau` in a shell."""

OF_OPTIONS: Final = {
    "timeout": ("--max-runtime", "--max-time"),
    "time": ("--max-runtime", "--max-time"),
    "idle": ("--once",),
    "exit-when-idle": ("--once",),
    "drain": ("--once",),
    "workers": ("--concurrency",),
    "processes": ("--concurrency",),
    "jobs": ("--concurrency",),
    "threads": ("--concurrency",),
    "id": ("--run-id", "--as"),
    "name": ("--run-id", "--as"),
    "thread-id": ("--run-id",),
    "db": ("--store",),
    "database": ("--store",),
    "backend": ("--store",),
    "param": ("--set",),
    "arg": ("--set",),
    "var": ("--set",),
    "data": ("--input",),
    "resume": ("--if-exists",),
    "force": ("--yes",),
    "keep": ("--keep-last",),
    "state": ("--status",),
    "follow": ("--watch",),
    "silent": ("--quiet",),
}
"""For options of `tau` in a shell: those that do it, of which a command may have one."""

_MODEL = 'it is an option of the model: options={{"chat": {{"{0}": ...}}}}, or chat(prompt, {0}=...)'
_PROVIDER = 'it is an option of the provider: provider_options={{"{0}": ...}}'

OF_AGENTS: Final = {
    **{name: _MODEL.format(name) for name in ("temperature", "max_tokens", "num_ctx", "seed", "top_p", "stop")},
    **{name: _PROVIDER.format(name) for name in ("api_key_env", "deployment", "api_version", "organization")},
    "api_key": 'a key is named by its environment variable: provider_options={"api_key_env": "MY_KEY"}',
    "url": "the address of the server is base_url=",
    "host": "the address of the server is base_url=",
    "max_retries": "retries are retry=Retry(attempts=...)",
}
"""For the arguments of `tau.agents.Agent`, from the clients of models."""
