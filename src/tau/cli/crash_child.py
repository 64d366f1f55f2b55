"""What a new interpreter of a crash test does; ``python -m tau.cli.crash_child`` reads its order from stdin."""

from __future__ import annotations

import sys

import msgspec

from tau.cli.targets import load_graph, read_project
from tau.testing.crashes.children import Order
from tau.testing.crashes.work import do


def main() -> None:
    """Make one attempt; how it ended is in its report."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)

    do(order.job, lambda: load_graph(order.target, read_project()), None)


if __name__ == "__main__":
    main()
