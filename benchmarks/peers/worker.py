"""A process that has loaded one library and forks a fresh child for every request: ``worker.py PEER`` or ``PEER TASK``.

Requests are JSON lines on stdin, replies JSON lines on stdout; what the library prints goes to stderr. A child that
was killed, or that took too long, is a reply like any other.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.peers import behaviour, workloads
from benchmarks.peers.peer import Peer

PEERS = {
    "tau": ("benchmarks.peers.tau_peer", "Tau"),
    "langgraph sync": ("benchmarks.peers.langgraph_peer", "Sync"),
    "langgraph async": ("benchmarks.peers.langgraph_peer", "Async"),
    "langgraph delta": ("benchmarks.peers.langgraph_peer", "Delta"),
    "burr": ("benchmarks.peers.burr_peer", "Burr"),
    "dbos": ("benchmarks.peers.dbos_peer", "Dbos"),
    "dbos pinned": ("benchmarks.peers.dbos_peer", "Pinned"),
}
TASKS = {
    task.__name__: task
    for task in (
        workloads.step,
        workloads.untouched,
        workloads.growing,
        workloads.lengthen,
        workloads.first_node,
        workloads.many,
        behaviour.begin,
        behaviour.go_on,
    )
}
REPLYING = {"first_node"}
"""Tasks that reply themselves, since the process ends inside them."""


def load(name: str) -> type[Peer]:
    """The class of a peer. Raises `ImportError` where its library is not installed."""
    module, kind = PEERS[name]
    found: type[Peer] = getattr(importlib.import_module(module), kind)
    return found


def perform(peer: type[Peer], task: str, folder: str, arguments: dict[str, Any], out: int) -> None:
    """Do it here and write the reply."""

    def reply(found: Any) -> None:
        os.write(out, json.dumps({"ok": found}).encode() + b"\n")

    more = {"reply": reply} if task in REPLYING else {}
    try:
        reply(TASKS[task](peer, Path(folder), **arguments, **more))
    except BaseException as error:
        traceback.print_exc()
        os.write(out, json.dumps({"error": described(error)}).encode() + b"\n")


def described(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def forked(peer: type[Peer], request: dict[str, Any]) -> tuple[int, int]:
    """A child that does the task, and where its reply comes from."""
    back, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(back)
        perform(peer, request["task"], request["folder"], request["arguments"], out)
        os._exit(0)
    os.close(out)
    return child, back


def awaited(child: int, back: int, deadline: float) -> dict[str, Any]:
    """The child's reply; of one that was killed, or had to be, that."""
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([back], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(back)
            return {"late": True}
        piece = os.read(back, 65536)
        if not piece:
            break
        data += piece
    os.close(back)
    if data:
        os.kill(child, signal.SIGKILL)  # threads of the library do not have to end by themselves
    _, status = os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(data) if data else {"ended": os.waitstatus_to_exitcode(status)}
    return found


def main() -> None:
    name, *once = sys.argv[1:]
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        peer = load(name)
    except ImportError as error:
        os.write(out, json.dumps({"absent": str(error)}).encode() + b"\n")
        return
    if once:
        request = json.loads(once[0])
        perform(peer, request["task"], request["folder"], request["arguments"], out)
        os._exit(0)
    facts = {
        "packages": peer.packages,
        "configured": peer.configured,
        "lenient": peer.lenient_means,
        "only": peer.only,
        "behind": peer.behind,
    }
    os.write(out, json.dumps({"ok": facts}).encode() + b"\n")
    for line in sys.stdin:
        request = json.loads(line)
        deadline = time.monotonic() + request["seconds"]
        children = [forked(peer, request) for _ in range(request["times"])]
        replies = [awaited(child, back, deadline) for child, back in children]
        os.write(out, json.dumps(replies).encode() + b"\n")


if __name__ == "__main__":
    main()
