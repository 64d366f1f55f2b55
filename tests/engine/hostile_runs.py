"""Run in a process of its own: what the verbs say of runs whose records are crafted, with every checksum right.

``hostile_runs.py COUNT SEED``: mutated and crafted records are sealed anew and committed to a memory store; every verb
that reads a run must end with a result or a `TauError`, within bounds of time and memory, and run nothing.
"""

from __future__ import annotations

import logging
import math
import random
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import msgpack, structs

from tau import State, StateGraph, TauError
from tau.log import encoding
from tau.stores.contract import Batch, Summary
from tau.stores.memory import MemoryStore
from tau.values import encode

SECONDS, MEGABYTES = 10, 1500
ODD: list[Callable[[random.Random], Any]] = [
    lambda rng: None,
    lambda rng: rng.choice([-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1]),
    lambda rng: rng.choice([math.nan, math.inf, -math.inf, 1e308, -1e15, 0.5]),
    lambda rng: rng.choice(["", "\0", "a", "node", "x" * 5000, "\N{SNOWMAN}", "error", "running", "..", "/etc/passwd"]),
    lambda rng: rng.choice([b"", b"\0", b"\xc1", b"x" * 700, b"\x91" * 500, encode((1, [2]))]),
    lambda rng: rng.choice(
        [[], [[]], [0, b"\x01"], [1, b"", 0, []], [2, b"", 0, [b"", 0]], [1, b"", 2**40, [[b"x", 5]]]]
    ),
    lambda rng: rng.choice([{}, {"": None}, {"a": [0, b"\xc0"]}, {1: 2}]),
    lambda rng: rng.choice([True, False]),
    lambda rng: msgpack.Ext(rng.randrange(-5, 90), b"\x01"),
    lambda rng: [[]] * rng.choice([1, 50]),
    lambda rng: [1, b"", 0, [[b"\1" * 20, rng.choice([1, 10**9, 2**40, 2**63 - 1])]]],
]


# What a node of these graphs does not expect under its keys.
STORABLE: list[Any] = [[], {}, (1,), {"a": [1] * 50}, "", b"", 1.5, {1, 2}, None, "\ud800", [[[[]]]]]


def alike(rng: random.Random, old: Any) -> Any:
    """An odd value of the same type."""
    if type(old) in (int, float, str, bytes):
        number = {int: 1, float: 2, str: 3, bytes: 4}[type(old)]
        return ODD[number](rng)
    if type(old) is list:
        return rng.choice([old[1:], old * 2, old[::-1], []])
    if type(old) is dict and old:
        key = rng.choice(list(old))
        return rng.choice([{k: v for k, v in old.items() if k != key}, {**old, "odd": old[key]}, {}])
    return rng.choice(ODD)(rng)


class Squeezed(bytes):
    """A body that is compressed already."""


# 88 kB that say they are two gigabytes, and 40 kB that do not say what they are.
BOMBS = [Squeezed(encoding.zstd.compress(b"\0" * (2**31 - 1), 1))]
squeezer = encoding.zstd.ZstdCompressor(1)
BOMBS.append(Squeezed(b"".join(squeezer.compress(b"\0" * 10**6) for _ in range(1200)) + squeezer.flush()))


def sealed(run_id: str, position: int, body: bytes) -> bytes:
    if isinstance(body, Squeezed):
        kind, stored = encoding._ZSTD, body
    else:
        kind, stored = encoding._squeeze(body) if len(body) > 4096 else (encoding._RAW, body)
    head = bytes((encoding.FORMAT, kind))
    return encoding.MAGIC + head + encoding._checksum(run_id, position, head, stored) + stored


def opened(record: bytes) -> bytes:
    body = record[21:]
    return encoding.zstd.decompress(body) if record[4] else body


def graph_on(store: Any, fails: bool = False) -> StateGraph:
    graph = StateGraph("hostile", store=store, observer="noop")

    def first(state: State, ctx: Any) -> dict[str, Any]:
        one = ctx.step("one", lambda: [1, (2,)])
        return {"a": one, "big": [f"row {n}" for n in range(300)], "n": 1}

    def second(state: State) -> dict[str, Any]:
        return {"big": [*state["big"], "more"], "n": state["n"] + 1, "pair": (1, {2})}

    def third(state: State, ctx: Any) -> dict[str, Any]:
        ctx.step("two", lambda: b"x" * 2000)
        if fails:
            raise ValueError("not yet")
        return {"sum": len(state["big"])}

    graph.add_node("first", first, version="1")
    graph.add_node("second", second, version="1")
    graph.add_node("third", third, version="1")
    graph.add_node("end", lambda state: {"done": len(state.get("big", ()))}, version="1")
    graph.sequence("first", "second", "third", "end")
    return graph


Run = tuple[list[bytes], dict[bytes, bytes], Summary]


def sound_runs() -> list[Run]:
    """Finished, failed and interrupted runs, as bodies of records, blobs and a summary."""
    store = MemoryStore()
    graph_on(store).execute({"n": 0, "text": "t" * 1000}, run_id="r")
    runs = [taken(store)]
    store = MemoryStore()
    for _ in range(2):
        try:
            graph_on(store, fails=True).execute({"n": 0}, run_id="r", if_exists="resume")
        except TauError:
            runs.append(taken(store))
    return runs


def taken(store: Any) -> Run:
    records = [opened(data) for _, data in store.read("r", 0)]
    summary = store.summary("r")
    return records, dict(store._runs["r"].blobs), summary


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if len(path) > 30:  # nested by a mutation before
        return found
    if isinstance(value, list):
        found += [deeper for index, item in enumerate(value) for deeper in places(item, (*path, index))]
    elif isinstance(value, dict):
        found += [deeper for key, item in value.items() for deeper in places(item, (*path, key))]
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    made = value.copy()
    made[path[0]] = put(value[path[0]], path[1:], new)
    return made


def crafted(rng: random.Random, body: bytes, names: list[tuple[bytes, int]]) -> bytes:
    """A body that asks for much: nested deeply, growing when it is expanded, of values that are long when read."""
    how = rng.randrange(4)
    if how == 0:  # one field more than the record has
        nest = rng.choice([b"\x91", b"\x81\xa1k"]) * rng.choice([900, 100_000, 3_000_000]) + b"\x90"
        return b"\xdc" + (body[0] - 0x90 + 1).to_bytes(2, "big") + body[1:] + nest if 0x90 <= body[0] < 0xA0 else nest
    if how == 1:
        return rng.choice(BOMBS) if rng.random() < 0.1 else b"\0" * 10**6
    value = plain(body)
    found = [path for path in places(value) if value and type(value_at(value, path)) is dict]
    if not found:
        return body
    if how == 2:
        data = rng.choice([b"\x91" * 100_000 + b"\xc0", b"\x90" * 20, encode(rng.choice(STORABLE))])
        stored: Any = [0, data]
    else:
        name, size = rng.choice(names)
        times = rng.choice([2, 1000, 30_000])
        stored = [1, b"", rng.choice([0, 5, -5, 2**62]), [[name, rng.choice([size, 1, 2**40])]] * times]
    path = rng.choice(found)
    return msgpack.encode(put(value, path, dict.fromkeys((*value_at(value, path), "big", "n"), stored)))


def mutated(rng: random.Random, bodies: list[bytes], names: list[tuple[bytes, int]]) -> list[bytes]:
    bodies = list(bodies)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        number = rng.randrange(len(bodies))
        how = rng.randrange(12)
        value = plain(bodies[number])
        if how < 7 and value is not None:
            path = rng.choice(places(value))
            old = value_at(value, path)
            new = (
                alike(rng, old)
                if how < 5
                else rng.choice([rng.choice(ODD)(rng), value_at(value, rng.choice(places(value)))])
            )
            bodies[number] = msgpack.encode(put(value, path, new))
        elif how == 7:
            data = bytearray(bodies[number])
            data[rng.randrange(len(data))] = rng.randrange(256)
            bodies[number] = bytes(data)
        elif how == 8:
            bodies[number] = bodies[rng.randrange(len(bodies))]
        elif how < 11:
            bodies[number] = crafted(rng, bodies[number], names)
        else:
            del bodies[number]
            if not bodies:
                bodies.append(b"\x90")
    return bodies


def plain(body: bytes) -> Any:
    try:
        return None if isinstance(body, Squeezed) else msgpack.decode(body)
    except (ValueError, RecursionError):  # mutated before
        return None


def value_at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def summarised(rng: random.Random, summary: Summary, count: int) -> Summary:
    changes: dict[str, Any] = {"position": count}
    if rng.random() < 0.2:
        statuses = ["running", "odd", "waiting", "finished"]
        odd = ("base", [0, 1, 2, count, count + 5]), ("status", statuses), ("iterations", [-5])
        field, values = rng.choice(odd)
        changes[field] = rng.choice(values)
    return structs.replace(summary, **changes)


def committed(bodies: list[bytes], blobs: dict[bytes, bytes], summary: Summary) -> MemoryStore:
    store = MemoryStore()
    records = tuple(sealed("r", number, body) for number, body in enumerate(bodies, 1))
    store.commit([Batch("r", 0, b"t", records, tuple(blobs.items()), summary)])
    return store


def read_all(state: State) -> None:
    for key in state:
        state[key]


VERBS: dict[str, Callable[[Any], Any]] = {
    "resume": lambda store: graph_on(store).resume("r"),
    "redo": lambda store: graph_on(store).resume("r", on_change="redo"),
    "again": lambda store: graph_on(store).execute({"n": 0}, run_id="r", if_exists="resume"),
    "plan": lambda store: graph_on(store).plan("r"),
    "history": lambda store: [read_all(one.state) for one in graph_on(store).history("r")],
    "load": lambda store: read_all(store.load("r")),
    "runs": lambda store: repr([(row, row.updated_at, row.created_at) for row in store.runs()]),
    "cancel": lambda store: graph_on(store).cancel("r"),
}


def late(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def told(verb: str, store: Any, say: Counter[str]) -> None:
    signal.alarm(SECONDS)
    try:
        VERBS[verb](store)
        outcome = "result"
    except TauError as error:
        outcome = type(error).__name__
    except BaseException as error:
        inside = traceback.extract_tb(error.__traceback__)[-1]
        outcome = (
            f"UNTYPED {verb}: {type(error).__name__}: {str(error)[:80]} at {inside.filename[-30:]}:{inside.lineno}"
        )
    finally:
        signal.alarm(0)
    say[outcome] += 1


def main(count: int, seed: int) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    runs = sound_runs()
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    rng = random.Random(seed)
    say: Counter[str] = Counter()
    for _ in range(count):
        bodies, blobs, summary = rng.choice(runs)
        names = [(name, len(data) - 1) for name, data in blobs.items()]
        bodies = mutated(rng, bodies, names)
        made = summarised(rng, summary, len(bodies))
        for verb in VERBS:
            told(verb, committed(bodies, blobs, made), say)
    for outcome, times in say.most_common():
        print(times, outcome)
    sys.exit(any(outcome.startswith("UNTYPED") for outcome in say))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
