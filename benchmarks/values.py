"""How fast values are encoded and decoded, as ratios within one run. Run: python benchmarks/values.py"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import msgpack

from tau.values import decode, encode


def microseconds(function: Callable[[], Any], seconds: float = 0.4) -> float:
    """The median time of one call."""
    start = time.perf_counter()
    function()
    number = max(1, int(0.01 / max(time.perf_counter() - start, 1e-7)))
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        for _ in range(number):
            function()
        times.append((time.perf_counter() - start) / number)
    return statistics.median(times) * 1e6


def ratio(one: Callable[[], Any], other: Callable[[], Any], rounds: int = 200) -> float:
    """The median of one's time by the other's, taken in turns."""
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        one()
        middle = time.perf_counter()
        other()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios)


def record(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "name": f"station-{i}",
        "lat": i * 0.1,
        "lon": -i * 0.2,
        "ok": i % 2 == 0,
        "note": None,
        "elevation": i * 3,
        "code": f"abc{i}",
        "values": [1.5, 2.5, i],
    }


def nested(megabytes: int) -> dict[str, Any]:
    return {
        f"year-{y}": {f"station-{s}": {f"f{j}": j * 1.5 for j in range(10)} | {"label": "x" * 20} for s in range(100)}
        for y in range(62 * megabytes)
    }


def row(name: str, value: Any) -> None:
    data = encode(value)
    spent, read = microseconds(lambda: encode(value)), microseconds(lambda: decode(data))
    try:
        bare, bare_read = microseconds(lambda: msgpack.encode(value)), microseconds(lambda: msgpack.decode(data))
        ratios = f"{spent / bare:8.2f} {read / bare_read:8.2f}"
    except (TypeError, OverflowError):
        ratios = f"{'-':>8} {'-':>8}"
    print(f"{name:34} {len(data):>11,} {spent:>11,.1f} {read:>11,.1f} {ratios}")


def main() -> None:
    print(f"{'':34} {'bytes':>11} {'encode us':>11} {'decode us':>11} {'/msgspec':>8} {'/msgspec':>8}")
    row("an int", 5)
    row("a dict of 1 kB", {f"key{i}": i if i % 2 else "x" * 80 for i in range(20)})
    row("a datetime", datetime(2024, 1, 1, tzinfo=UTC))
    records = [record(i) for i in range(500)]
    with_one = [*records[:250], {**record(250), "values": [1.5, (2.5, 3)]}, *records[251:]]
    with_all = [{**record(i), "values": (1.5, 2.5, i)} for i in range(500)]
    with_big = [*records[:250], {**record(250), "id": 2**70}, *records[251:]]
    row("500 records", records)
    row("500 records, a tuple in one", with_one)
    row("500 records, a tuple in each", with_all)
    row("500 records, 2**70 in one", with_big)
    row("10,000 pairs of floats", [(i * 0.5, i * 0.25) for i in range(10_000)])
    row("a set of 10,000 texts", {f"name-{i}" for i in range(10_000)})
    row("a nested dict of 10 MB", nested(10))
    row("10 MB of bytes", b"x" * 10_000_000)
    print("500 records, encoding beside the same without, in turns:")
    for name, value in (("a tuple in one", with_one), ("a tuple in each", with_all), ("2**70 in one", with_big)):
        times = ratio(lambda value=value: encode(value), lambda: encode(records))
        print(f"    {name:20} {times:6.2f} x")


if __name__ == "__main__":
    main()
