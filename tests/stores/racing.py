"""A process that races: ``python racing.py URL ROUNDS NAME``. It begins when standard input is closed."""

from __future__ import annotations

import sys

from tau.stores import open_store
from tau.stores.contract import PositionConflict
from tau.testing.store_contract.batches import batch, one


def main(url: str, rounds: int, name: str) -> None:
    store = open_store(url)
    sys.stdin.read()
    for position in range(rounds):
        mine = batch("r", position, [f"{name} {position}".encode()])
        result = one(store, mine)
        if isinstance(result, PositionConflict):
            assert result.position > position, result
        else:
            assert result == position + 1, result
            print(position, flush=True)
        while (store.summary("r") or mine.summary).position <= position:
            pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
