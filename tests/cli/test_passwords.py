"""The password of a store's URL is printed by no command, neither as text nor as JSON."""

from __future__ import annotations

import shlex
from urllib.parse import quote

import pytest
from cli_shell import Here, Shell

from postgres_server import Server as PostgresServer
from redis_server import Server as RedisServer
from tau.cli import main
from tau.stores.urls import for_a_command, without_password

CANARY = "q@xyzzy/7"
SHOWN = (CANARY, quote(CANARY, safe=""), "xyzzy")

PAUSING = """
from tau import StateGraph, pause_node

graph = StateGraph("asking")
graph.add_node("review", pause_node("review", form=int, prompt="how many?"))
graph.sequence("review")
"""


@pytest.fixture
def redis_with_password(own_redis: RedisServer, own_redis_url: str) -> str:
    assert own_redis_url
    with own_redis.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"])
        client.acl_setuser(
            "climate", enabled=True, passwords=[f"+{CANARY}"], keys=["*"], channels=["*"], categories=["+@all"]
        )
    return own_redis.tcp(user="climate", password=CANARY)


@pytest.fixture
def postgres_with_password(own_postgres: PostgresServer, own_postgres_url: str) -> str:
    assert own_postgres_url
    database = own_postgres.current
    user = f"climate_{database}"
    own_postgres.sql(
        database,
        f"create role {user} login password '{CANARY}'",
        f"grant create on database {database} to {user}",
    )
    return own_postgres.tcp(user=user, password=CANARY)


@pytest.fixture(params=["redis_with_password", "postgres_with_password"], ids=["redis", "postgresql"])
def secret_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def printed(here: Here, *words: str, code: int = 0) -> str:
    """All that is printed, without the password in it."""
    done = here(*words, code=code)
    said = str(done.out + done.err)
    assert not any(one in said for one in SHOWN), said
    return said


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_no_command_prints_the_password_of_its_store(
    shell: Shell, here: Here, secret_url: str, form: list[str]
) -> None:
    def call(verb: str, *words: str, code: int = 0) -> str:
        return printed(here, verb, *form, *words, "--store", secret_url, code=code)

    goes_on = f"tau resume --store {shlex.quote(for_a_command(secret_url))} "
    (shell.folder / "broken").touch()
    shell.write("asking.py", PAUSING)
    said = call("run", "pipeline.py:graph", "--run-id", "a", code=1)
    assert form or goes_on in said
    assert form or said.count("set TAU_STORE to the whole URL") == 1
    call("run", "pipeline.py:graph", "--run-id", "a", code=4)
    call("run", "asking.py:graph", "--run-id", "q", code=4)
    call("pauses")
    for words, code in {
        ("answer", "q", "review", "--value", "2"): 0,
        ("fork", "a", "pipeline.py:graph", "--as", "b"): 0,
        ("resume", "a"): 2,  # nothing names its graph
        ("run", "pipeline.py:graph", "--run-id", "a", "--set", "x=1", "--if-exists", "resume"): 4,
    }.items():
        said = call(*words, code=code)
        assert "tau delete --store" in said or goes_on in said
        assert said.count("set TAU_STORE to the whole URL") == 1
    call("resume", "a", "pipeline.py:graph", code=1)
    call("resume", "a", "pipeline.py:graph", "--plan")
    for verb in ("runs", "stats", "verify"):
        call(verb)
    call("gc", "--keep-last", "9", "--dry-run")
    assert ("set TAU_STORE to the whole URL" in call("show", "a")) != bool(form)  # JSON names no command
    call("history", "a")
    call("show", "nothing", code=3)
    call("export", "a", "a.tau")
    call("import", "a.tau", code=4)
    call("run", "pipeline.py:graph", "--run-id", "m", code=1)
    call("copy", "m", "--to", secret_url, "--as", "there", "--move")
    assert "moved to run 'there' in " in call("resume", "m", "pipeline.py:graph", code=4)
    assert "moved to run 'there' in " in call("show", "m")
    call("copy", "a", "--to", secret_url, "--as", "b", code=4)
    call("cancel", "b")
    call("delete", "a", "--yes")
    (shell.folder / "more.jsonl").write_text("{}\n")
    call("submit", "asking.py:graph", "more.jsonl")


def test_a_graph_of_the_project_is_resumed_in_the_store_of_the_environment(
    shell: Shell, here: Here, redis_with_password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAU_STORE", redis_with_password)
    shell.write("pyproject.toml", '[tool.tau.graphs]\nclimate = "pipeline.py:graph"\n')
    (shell.folder / "broken").touch()
    said = printed(here, "run", "climate", "--run-id", "a", code=1)
    assert "resume  tau resume a climate" in said
    assert "set TAU_STORE" not in said
    (shell.folder / "broken").unlink()
    printed(here, "resume", "a")


def test_a_demo_hands_the_password_on_without_showing_it(here: Here, redis_with_password: str) -> None:
    said = printed(here, "demo", "--store", redis_with_password)
    assert f"export TAU_STORE={for_a_command(redis_with_password)}" in said


@pytest.mark.parametrize(
    "scheme", ["redis", "rediss", "postgresql", "postgres", "mysql", "http", "s3", "file", "sqlite"]
)
@pytest.mark.parametrize("secret", [quote(CANARY, safe=""), CANARY], ids=["encoded", "raw"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "pipeline.py:graph"], ["resume", "a", "pipeline.py:graph"], ["resume", "a"], ["fork", "a"], ["runs"],
        ["show", "a"], ["history", "a"], ["pauses"], ["answer", "a", "b", "--value", "1"], ["cancel", "a"],
        ["delete", "a", "--yes"], ["gc"], ["stats"], ["verify"], ["export", "a", "file"], ["import", "file"],
        ["copy", "a", "--to", "memory:"], ["demo"], ["crash-test", "pipeline.py:graph"],
        ["submit", "pipeline.py:graph", "file"], ["worker", "pipeline.py:graph"],
    ],
    ids=lambda words: "-".join(words[:2]),
)  # fmt: skip
def test_nor_where_the_store_cannot_be_used(
    here: Here, shell: Shell, words: list[str], scheme: str, secret: str
) -> None:  # fmt: skip
    if scheme in ("file", "sqlite"):
        url = f"{scheme}://climate:{quote(CANARY, safe='')}@host/runs"
    else:
        url = f"{scheme}://climate:{secret}@127.0.0.1:x/runs"
    for more in ([], ["--json"]):
        here.capture.readouterr()
        assert main([words[0], *more, *words[1:], "--store", url]) != 0
        said = "".join(here.capture.readouterr())
        assert said
        assert not any(one in said for one in SHOWN), said


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("redis://", "redis://"),
        ("redis://user@host", "redis://user@host"),
        ("redis://:p%40ss%2Fw@host", "redis://host:6379/0"),
        ("redis://host?password=x", "redis://host:6379/0"),
        ("postgresql://climate:secret@host/runs", "postgresql://climate@host/runs"),
        ("postgresql://climate@host/runs?sslmode=disable", "postgresql://climate@host/runs?sslmode=disable"),
        ("mysql://climate:p/w@host", "mysql://***@host"),
    ],
)
def test_a_printed_command_names_the_store_without_a_password(
    given: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert for_a_command(given) == shown
    assert "p/w" not in without_password(given)
