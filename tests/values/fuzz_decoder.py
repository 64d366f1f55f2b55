"""Run in a process of its own: decode damaged and random bytes under an audit hook. ``fuzz_decoder.py COUNT SEED``"""

from __future__ import annotations

import os
import random
import sys
import warnings
import zoneinfo
from collections import Counter
from contextlib import suppress
from typing import Any

from exactness import VALUES
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.values import Refused, decode, encode
from tau.values.registry import kind_of_tag

FORBIDDEN = ("import", "open", "exec", "compile", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "sqlite3.")


class Listener:
    """Notes what decoding did beside building values."""

    def __init__(self) -> None:
        self.listening = False
        self.heard: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.listening or not event.startswith(FORBIDDEN):
            return
        # Reading a time zone that this machine has is reading data.
        if event == "open" and any(str(arguments[0]).startswith(folder + os.sep) for folder in zoneinfo.TZPATH):
            return
        # What Cython compiles, whatever the input, for the traceback of an error that cftime raises.
        if event == "compile" and arguments == (b"_getframe()", "src/cftime/_cftime.pyx"):
            return
        self.heard.append(f"{event} {arguments!r}")


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        place = rng.randrange(len(data) + 1)
        action = rng.randrange(7)
        if action == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif action == 1 and place < len(data):
            data[place] = rng.randrange(256)
        elif action == 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 5))
        elif action == 3:
            del data[place : place + rng.randrange(1, 5)]
        elif action == 4:
            del data[place:]
        elif action == 5:
            data[place : place + rng.randrange(8)] = rng.choice(seeds)[:200]
        else:
            # An extension of any tag around whatever follows.
            rest = bytes(data[place : place + 200])
            data[place : place + 200] = b"\xc7" + bytes((len(rest), rng.randrange(256))) + rest
    return bytes(data)


def outcome_of(data: bytes, number: int, listener: Listener) -> str:
    listener.listening = True
    try:
        value = decode(data)
    except CorruptCheckpointError:
        return "corrupt"
    except UnsupportedFormatError:
        return "unsupported"
    except BaseException as error:
        sys.exit(f"input {number}, {data.hex()}: {type(error).__name__}: {error}")
    finally:
        listener.listening = False
        if listener.heard:
            sys.exit(f"input {number}, {data.hex()}: {listener.heard}")
    check_again(value, number, data)
    return "value"


def main(count: int, seed: int) -> None:
    warnings.simplefilter("ignore")
    seeds = [data for data in map(encode, VALUES) if len(data) < 3000]
    for tag in range(256):
        with suppress(UnsupportedFormatError):
            kind_of_tag(tag)
    for data in seeds:  # what these import when they are used
        decode(data)
    with suppress(UnsupportedFormatError):
        decode(encode(zoneinfo.ZoneInfo("UTC")).replace(b"UTC", b"XYZ"))  # reads the list of time zones
    rng = random.Random(seed)
    listener = Listener()
    sys.addaudithook(listener)
    listener.listening = True
    compile("1", "a name", "eval")
    listener.listening = False
    if not listener.heard:
        sys.exit("the audit hook hears nothing")
    listener.heard.clear()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        data = rng.randbytes(rng.randrange(64)) if number % 10 == 0 else mutated(rng, seeds)
        outcomes[outcome_of(data, number, listener)] += 1
    print(dict(outcomes))


def check_again(value: Any, number: int, data: bytes) -> None:
    """What was decoded can be stored again, and comes back the same."""
    try:
        again = encode(value)
    except Refused:
        return
    if encode(decode(again)) != again:
        sys.exit(f"input {number}, {data.hex()}: not the same the second time")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
