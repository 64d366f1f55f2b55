"""Prints the runs of a store, or the history of one, by these pages alone: reader.py FILE_OR_DIRECTORY [RUN_ID]."""

from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from sqlite3 import connect
from struct import iter_unpack
from sys import argv, version_info

from msgspec.msgpack import decode

EXPAND = (bytes, import_module("compression.zstd" if version_info >= (3, 14) else "backports.zstd").decompress)


def runs(path):
    if path.is_file():
        database = connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        for number, run_id, summary in database.execute("select id, run_id, summary from runs"):
            records = database.execute("select position, record from log where run = ?", (number,))
            blobs = database.execute("select data from blobs where run = ?", (number,))
            yield run_id, decode(summary[4:]), records, (blob for (blob,) in blobs)
    for folder in path.glob("runs/*"):
        packs = {tuple(map(int, file.name[1:].split("-"))): file.read_bytes() for file in folder.glob("p*")}
        covered = max((last for last, *first in packs if first), default=0)
        floor = max((last for last, *first in packs if first == [last + 1]), default=0)
        records, blobs = {}, [file.read_bytes()[36:] for file in folder.glob("blobs-*/b*")]
        for name in sorted(name for name in packs if name[1:] or name[0] > covered):
            end = 16 + int.from_bytes(packs[name][12:16], "little")
            run_id, first, last, _, summary, _, ends, places, *_ = decode(packs[name][16:end])
            body, starts = packs[name][end:], [0, *(end for end, _ in iter_unpack("<QI", ends))]
            records |= {n: body[starts[n - first] : starts[n - first + 1]] for n in range(first, last + 1) if n > floor}
            blobs += [body[at + n : at + n + size] for _, at, size, n, _ in iter_unpack("<8sQQII", places)]
        yield run_id, summary, records, blobs


for run_id, summary, *log in runs(Path(argv[1])):
    if argv[2:] in ([], [run_id]):
        print(run_id, summary["status"], summary["position"])
    values, (records, blobs) = {}, (dict(log[0]), log[1]) if argv[2:] == [run_id] else ({}, [])
    contents = {sha256(content).digest()[:20]: content for content in (EXPAND[blob[0]](blob[1:]) for blob in blobs)}
    for position in range(min(records, default=summary["position"] + 1), summary["position"] + 1):
        data = records.get(position, b"")
        sealed = b"%b\0%d\0" % (run_id.encode(), position) + data[3:5] + data[21:]
        if data[:3] != b"tau" or data[3] not in range(1, 7) or data[5:21] != sha256(sealed).digest()[:16]:
            print(position, "DAMAGED, or of a later format")
            values = {}  # what grows is known again from the next manifest on
            continue
        kind, _, _, time, scope, *fields = decode(EXPAND[data[4]](data[21:]))
        manifest = fields[0] if kind == "admitted" else fields[8] if kind == "checkpoint" and not scope else None
        changed = fields[5] if kind == "checkpoint" else fields[4] if kind == "answer" else (manifest or [0, {}])[1]
        where = fields[:5:4] if kind == "checkpoint" else [one for one in fields[:1] if isinstance(one, str)]
        print(position, datetime.fromtimestamp(time, UTC), kind, " -> ".join(map(str, where)), *scope[: len(where) - 1])
        for key, (form, head, *place) in (manifest[1] if manifest else changed).items():
            skip, parts = place or (0, [])
            lies = (values[str(scope[:n]), key] for n in range(len(scope), -1, -1) if (str(scope[:n]), key) in values)
            got = [next(lies, None) if form == 2 else b"", *[contents.get(n) for n, _ in ([parts], parts)[form != 2]]]
            values[str(scope), key] = encoded = None if None in got else head + b"".join(got)[skip:]
            if key in changed:
                print(f"    {key!r}:", repr(decode(encoded, ext_hook=lambda tag, _: {tag})) if encoded else "DAMAGED")
