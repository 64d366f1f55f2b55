"""Redis servers, users and passwords: what a server must promise, who may do what, and what is never shown."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from error_chains import held_by
from msgspec.structs import replace

from redis_server import Server, free_port
from tau import StateGraph
from tau.errors import ConfigError, StoreError, StoreFullError, StoreUnavailableError, TauError
from tau.observers import Recorder
from tau.stores.contract import Batch
from tau.stores.redis import RedisStore
from tau.testing import Proxy
from tau.testing.proxies import Listener
from tau.testing.store_contract.batches import batch, one

# What the server must promise


@contextmanager
def setting(server: Server, **settings: str) -> Iterator[None]:
    """Set so while it runs, and for no longer."""
    with server.client() as client:
        before = {name: client.config_get(name)[name] for name in settings}
        for name, value in settings.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@pytest.mark.parametrize(
    "settings",
    [
        {"maxmemory-policy": "allkeys-lru"},
        {"maxmemory-policy": "volatile-lru"},
        {"appendonly": "no"},
        {"appendfsync": "everysec"},
        {"appendfsync": "no", "maxmemory-policy": "allkeys-random"},
        {"no-appendfsync-on-rewrite": "yes"},
    ],
)
def test_a_server_that_may_lose_commits_is_read_but_not_written_to(
    own_redis: Server, own_redis_url: str, settings: dict[str, str]
) -> None:
    """Unless that is said to be fine, also in the URL."""
    with RedisStore(own_redis_url) as store:
        assert one(store, batch("r", 0)) == 1
    with setting(own_redis, **settings):
        store = RedisStore(own_redis_url)
        assert len(store.read("r")) == 1
        assert len(store.runs()) == 1
        refused = one(store, batch("r", 1))
        assert isinstance(refused, StoreUnavailableError)
        for name, value in settings.items():
            assert f"{name} is {value}" in str(refused)
        assert "durability=relaxed" in str(refused)
        assert not refused.transient
        with pytest.raises(StoreUnavailableError, match="cannot write to"):
            store.delete("r")
        for relaxed in (
            RedisStore(own_redis_url, durability="relaxed"),
            RedisStore(own_redis_url + "&durability=relaxed"),
        ):
            position = len(relaxed.read("r"))
            assert one(relaxed, batch("r", position)) == position + 1
            relaxed.close()
        store.close()


@pytest.mark.parametrize("rules", ["-config", "-config|get"])
def test_what_cannot_be_read_counts_as_unsafe(redis: Server, redis_url: str, rules: str) -> None:
    """As at most managed offers."""
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "guest", "reset", "on", "nopass", "~*", "+@all", rules)
        try:
            store = RedisStore(redis.url(user="guest"))
            assert store.runs() == []
            refused = one(store, batch("r", 0))
            assert isinstance(refused, StoreUnavailableError)
            assert "maxmemory-policy cannot be read, appendonly cannot be read" in str(refused)
            relaxed = RedisStore(redis.url(user="guest"), durability="relaxed")
            assert one(relaxed, batch("r", 0)) == 1
            for each in (store, relaxed):
                each.close()
        finally:
            client.execute_command("ACL", "DELUSER", "guest")


def test_a_server_whose_memory_is_full_is_a_full_store(own_redis: Server, own_redis_url: str) -> None:
    """Nothing that was committed is lost, and the run goes on when there is room again."""
    store = RedisStore(own_redis_url)
    assert one(store, batch("r", 0)) == 1
    with setting(own_redis, maxmemory="1"):
        found = store.commit([batch("r", 1), batch("s", 0)])
        assert [type(each) for each in found] == [StoreFullError] * 2
        assert "raise maxmemory" in str(found[0])
        assert len(store.read("r")) == 1
        assert store.summary("s") is None
    assert store.commit([batch("r", 1), batch("s", 0)]) == [2, 1]
    store.close()


def test_what_an_evicting_server_threw_away_is_found(own_redis: Server, own_redis_url: str) -> None:
    """It is never taken for a shorter history, nor overwritten by what follows."""
    store = RedisStore(own_redis_url, durability="relaxed")
    runs = {f"r{n}": batch(f"r{n}", 0, [b"x" * 3000]) for n in range(300)}
    assert store.commit(list(runs.values())) == [1] * 300
    with own_redis.client() as client:
        used = int(client.info("memory")["used_memory"])
        with setting(own_redis, **{"maxmemory-policy": "allkeys-random", "maxmemory": str(used - 400_000)}):
            one(store, batch("other", 0))
            told: dict[str, str] = {}
            for run_id in runs:
                try:
                    rows = store.read(run_id)
                    after = store.commit([batch_after(runs[run_id])])[0]
                    assert rows in ([], [(1, runs[run_id].records[0])])
                    told[run_id] = "whole" if after == 2 else type(after).__name__
                except TauError as error:
                    told[run_id] = type(error).__name__
        assert set(told.values()) <= {"whole", "StoreError", "CorruptCheckpointError", "StoreUnavailableError"}
        assert set(told.values()) - {"whole"}
    store.close()


def batch_after(first: Batch) -> Batch:
    return replace(batch(first.run_id, 1), before=first.records[0])


def test_a_restart_without_a_log_is_noticed(own_redis: Server, own_redis_url: str) -> None:
    """It empties the server; the owner at work is told, and nothing is begun anew under it."""
    own_redis.configure(appendonly="no")
    own_redis.restart()
    try:
        store = RedisStore(own_redis_url, durability="relaxed")
        first = batch("r", 0)
        assert one(store, first) == 1
        own_redis.restart()
        refused = one(store, batch_after(first))
        assert type(refused) is StoreError
        assert "the server went back from 1 to 0" in str(refused)
        with pytest.raises(StoreUnavailableError, match="are gone"):
            store.read("r")
        store.close()
    finally:
        own_redis.configure(appendonly="yes")
        own_redis.restart()


def test_a_cluster_is_refused_by_name(tmp_path: Path) -> None:
    server = Server(cluster_enabled="yes", cluster_port=str(free_port()), databases="1")
    try:
        store = RedisStore(server.tcp(0), durability="relaxed")
        for use in (lambda: store.read("r"), lambda: store.delete("r")):
            with pytest.raises(StoreUnavailableError, match="part of a Redis Cluster") as caught:
                use()
            assert not caught.value.transient
        refused = one(store, batch("r", 0))
        assert "part of a Redis Cluster" in str(refused)
    finally:
        server.close()


def test_a_replica_is_read_and_not_written_to(own_redis: Server, own_redis_url: str) -> None:
    """Until it is the primary."""
    with RedisStore(own_redis_url) as store:
        assert one(store, batch("r", 0)) == 1
    replica = Server(replicaof=f"127.0.0.1 {own_redis.port}")
    try:
        store = RedisStore(replica.url(own_redis._database))
        with replica.client() as client:
            while client.info("replication")["master_link_status"] != "up":
                pass
            assert len(store.read("r")) == 1
            assert [row.run_id for row in store.runs()] == ["r"]
            refused = one(store, batch("r", 1))
            assert isinstance(refused, StoreUnavailableError)
            assert "the server is a replica: name the primary" in str(refused)
            assert refused.transient
            with pytest.raises(StoreUnavailableError, match="is a replica"):
                store.delete("r")
            client.execute_command("REPLICAOF", "NO", "ONE")
            assert one(store, batch("r", 1)) == 2
        store.close()
    finally:
        replica.close()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"8.1.8", b"5.0.8", r"the server is Redis 5.0.8; tau needs 6 or newer, or Valkey"),
        (b"standalone", b"sentinel_x", r"the server is a sentinel_x; name the server that holds the data"),
        (b"*14\r\n", b"-ERR unknown command `HELLO`, with args beginning with: `2`\r\n", "tau needs Redis 6 or"),
        (b"*14\r\n", b"HTTP/1.1 400 Bad Request\r\n", "which is not Redis's protocol"),
        (b"*14\r\n", b"-LOADING Redis is loading the dataset in memory\r\n", "reads its files: wait for it"),
        (b"*14\r\n", b"-ERR max number of clients reached\r\n", "raise maxclients"),
    ],
)
def test_a_server_that_cannot_be_used_is_refused_by_name(
    redis: Server, redis_url: str, before: bytes, after: bytes, said: str
) -> None:
    def change(data: bytes) -> bytes:
        return after if before == b"*14\r\n" and before in data else data.replace(before, after)

    with Proxy(("127.0.0.1", redis.port), change=change, protocol="redis") as cutter:
        with pytest.raises(StoreUnavailableError, match=said) as caught:
            RedisStore(redis.tcp(port=cutter.port)).read("r")
        assert caught.value.transient == any(word in said for word in ("wait", "maxclients", "protocol"))


def test_a_server_that_is_busy_or_short_of_something_is_waited_for(redis: Server, redis_url: str) -> None:
    """And what it says is passed on with the remedy."""
    said = {
        b"-BUSY Valkey is busy running a script.": ("SCRIPT KILL", True),
        b"-MISCONF Errors writing to the AOF file: No space left on device": ("free some space on the server", None),
        b"-MISCONF Valkey is configured to save RDB snapshots": ("its log and its disk", True),
        b"-NOREPLICAS Not enough good replicas to write.": ("min-replicas-to-write", True),
        b"-MASTERDOWN Link with MASTER is down": ("has lost its primary", True),
        b"-ERR something new": ("see the server's log", None),
    }
    with RedisStore(redis_url) as store:
        one(store, batch("r", 0))
    for answer, (remedy, transient) in said.items():
        change = lambda data, answer=answer: answer + b"\r\n" if data.startswith(b"*1\r\n:1") else data  # noqa: E731
        with Proxy(("127.0.0.1", redis.port), change=change, protocol="redis") as cutter:
            store = RedisStore(redis.tcp(port=cutter.port))
            refused = one(store, batch("r", len(store.read("r"))))
            assert isinstance(refused, StoreError)
            assert remedy in str(refused), refused
            assert getattr(refused, "transient", None) == transient
            store.close()


def test_a_database_that_does_not_exist_is_refused(redis: Server) -> None:
    with pytest.raises(StoreUnavailableError, match=r"DB index is out of range.*name another number") as caught:
        RedisStore(redis.url(9999)).read("r")
    assert not caught.value.transient


def test_a_user_who_may_only_read_reads(redis: Server, redis_url: str) -> None:
    """With the rights that the page names."""
    with RedisStore(redis_url) as store, redis.client() as client:
        one(store, batch("r", 0))
        reader = ["reset", "on", "nopass", "~tau:*", "+@read", "+@connection", "+select", "+time"]
        writer = [*reader, "+@write", "+@scripting", "+config|get"]
        client.execute_command("ACL", "SETUSER", "reader", *reader)
        client.execute_command("ACL", "SETUSER", "writer", *writer)
        try:
            reading = RedisStore(redis.url(user="reader"))
            assert len(reading.read("r")) == 1
            assert [row.run_id for row in reading.runs()] == ["r"]
            assert len(list(reading.scan("r"))) == 1
            relaxed = RedisStore(redis.url(user="reader"), durability="relaxed")
            for refused in (one(reading, batch("r", 1)), one(relaxed, batch("r", 1))):
                assert isinstance(refused, StoreUnavailableError)
                assert "+config|get" in str(refused) or "let this user do CONFIG GET" in str(refused)
                assert not refused.transient
            with pytest.raises(StoreUnavailableError, match="cannot write to"):
                reading.delete("r")
            writing = RedisStore(redis.url(user="writer"))
            assert one(writing, batch("r", 1)) == 2
            assert len(writing.due("graph", 9)) == 1
            writing.delete("r")
            for each in (reading, relaxed, writing):
                each.close()
        finally:
            client.execute_command("ACL", "DELUSER", "reader", "writer")


# TLS


class Encrypted(Listener):
    """Speaks TLS with clients, and passes on what they say; the wheel's server cannot."""

    def __init__(self, server: tuple[str, int], certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        super().__init__(server)

    def serve(self, client: socket.socket) -> None:
        with closing(self._context.wrap_socket(client, server_side=True)) as peer, closing(self.connect()) as server:
            peer.setblocking(False)
            server.setblocking(False)
            while True:
                if not peer.pending():
                    select.select([peer, server], [], [])
                for source, target in ((peer, server), (server, peer)):
                    try:
                        data = source.recv(1 << 14)
                    except (BlockingIOError, ssl.SSLWantReadError):
                        continue
                    if not data:
                        return
                    target.setblocking(True)
                    target.sendall(data)
                    target.setblocking(False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tau")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "one.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_store_over_tls_is_the_same(redis: Server, redis_url: str, certificate: Path) -> None:
    """Large answers and many small ones; and a server whose certificate nobody knows is refused."""
    with Encrypted(("127.0.0.1", redis.port), certificate) as proxy:
        url = redis.tcp(port=proxy.port).replace("redis://", "rediss://")
        store = RedisStore(f"{url}?ssl_ca_certs={certificate}")
        mine = batch("r", 0, 3000, blobs=[(b"%d" % n, bytes([n]) * 300_000) for n in range(9)])
        assert store.commit([mine, batch("s", 0)]) == [3000, 1]
        assert [record for _, record in store.read("r")] == list(mine.records)
        assert store.blobs("r", [name for name, _ in mine.blobs]) == dict(mine.blobs)
        for position in range(3000, 3050):
            assert one(store, batch("r", position)) == position + 1
        store.close()
        with pytest.raises(StoreUnavailableError, match=r"cannot open rediss://.*CERTIFICATE_VERIFY_FAILED"):
            RedisStore(url).runs()


# Passwords

SECRET = "s3same%2Fopen%40all"
PLAIN = "s3same/open@all"


@pytest.fixture
def guarded(redis: Server, redis_url: str) -> Iterator[Server]:
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "keeper", "reset", "on", f">{PLAIN}", "~*", "+@all")
        yield redis
        client.execute_command("ACL", "DELUSER", "keeper")


def test_a_password_opens_the_store_and_is_never_shown(
    guarded: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither by the store nor by an error, an event, a log or a traceback, wherever it came from."""
    caplog.set_level("DEBUG")
    url = guarded.tcp(user="keeper", password=PLAIN)
    assert SECRET in url
    recorder = Recorder()
    graph = StateGraph("g", store=url, observer=recorder)
    graph.add_node("a", lambda state: {"x": 1}, version="1")
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    assert graph.execute({}, run_id="r")["x"] == 1
    store = graph.store
    assert store is not None
    shown = [repr(store), store.location, repr(vars(store)), repr(recorder.events), str(store.runs())]
    shown += [repr(vars(store._connections))]  # type: ignore[attr-defined]
    monkeypatch.setenv("REDIS_URL", url)
    assert len(RedisStore().read("r")) > 1
    echoing = lambda data: b"-ERR unknown command `HELLO`, `%b`\r\n" % PLAIN.encode() if b"*14" in data else data  # noqa: E731
    with Proxy(("127.0.0.1", guarded.port), change=echoing, protocol="redis") as cutter:
        for wrong in (
            url.replace("s3same", "s3samE"),
            url.replace(SECRET, "%zz" + SECRET),
            guarded.tcp(user="keeper"),
            url.replace("/1", "/x1") + "x",
            guarded.tcp(user="keeper", password=PLAIN, port=cutter.port),
            guarded.tcp(user="keeper", password=PLAIN) + "?colour=red",
        ):
            with pytest.raises((StoreError, ConfigError)) as caught:
                RedisStore(wrong).read("r")
            shown += [str(caught.value), repr(caught.value), caught.getrepr(chain=True).reprcrash.message]  # type: ignore[union-attr]
            shown += held_by(caught.value)
    for address in (url, url.replace("s3same", "s3samE")):
        told = [sys.executable, "-m", "tau", "show", "r", "--json", "--store", address]
        done = subprocess.run(told, capture_output=True, text=True, check=False)
        assert "redis://keeper@" in done.stdout + done.stderr
        shown += [done.stdout, done.stderr]
    shown += [caplog.text, *capfd.readouterr()]
    for text in shown:
        for secret in ("s3sam", SECRET, PLAIN):
            assert secret not in text, text


def test_a_wrong_password_is_told_with_the_remedy(guarded: Server) -> None:
    """And is not tried again and again."""
    for url in (guarded.tcp(user="keeper", password="wrong"), guarded.tcp(user="keeper"), guarded.tcp(user="nobody")):
        with pytest.raises(StoreUnavailableError, match=r"WRONGPASS.*check user and password in the URL") as caught:
            RedisStore(url).runs()
        assert not caught.value.transient
    with setting(guarded, requirepass="sesame"):
        with pytest.raises(StoreUnavailableError, match=r"NOAUTH.*check user and password in the URL"):
            RedisStore(guarded.tcp()).runs()
        store = RedisStore(guarded.tcp(password="sesame"))
        assert store.runs() == []
        store.close()
