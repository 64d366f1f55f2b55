"""Under a name that suggests a secret counts what cannot be one, and nothing of a secret is stored."""

from __future__ import annotations

import functools
import secrets
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import numpy as np
import pytest

from tau import ExecutionError, State, StateGraph
from tau.graph.changes import same_code
from tau.graph.code_digest import of_value
from tau.graph.digesting import hashed, scalar
from tau.graph.fingerprint import CodeFingerprint, of_code
from tau.graph.guarded_fields import is_setting


class Held:
    """An object with fields of any name."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)


class Kind(Enum):
    WORD = "word"


def node(state: State, model: Any) -> None: ...


def code(**fields: Any) -> CodeFingerprint:
    return of_code(functools.partial(node, model=Held(**fields)))


def counted(name: str, value: Any) -> bool:
    later = code(**{name: value}).later
    assert later is not None
    return f"model.{name}" in later.bound


SETTINGS = (
    "max_tokens", "maxTokens", "MAX_TOKENS", "n_tokens", "max_new_tokens", "max_completion_tokens", "tokens_per_minute",
    "token_limit", "token_budget", "thinking_budget_tokens", "token_count", "password_length", "min_password_length",
    "tokenizer", "tokenizer_name", "detokenize", "eos_token", "pad_token_id", "special_tokens", "token_type",
    "private_mode", "secret_format",
)  # fmt: skip
MAY_BE_SECRET = (
    "token", "api_token", "tokens", "secret", "client_secret", "password", "passwd", "apikey", "api_key", "private",
    "private_key", "credentials", "authorization", "token_id", "max_token_secret", "tokenizer_api_key", "password_max",
    "limit_token", "max_api_tokens", "eos_api_token", "token_number", "bearerToken", "TOKEN", "stop_tokens_secret",
)  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_name_that_tells_of_how_many_or_which_kind_is_no_secret(name: str) -> None:
    assert is_setting(name)
    for one, other in ((3, 9), ("auto", "9"), (None, 3), (Path("a"), Path("b"))):
        assert same_code(code(**{name: one}), code(**{name: other})) is False
    assert same_code(code(**{name: "auto"}), code(**{name: "auto"})) is True


@pytest.mark.parametrize("name", MAY_BE_SECRET)
def test_a_name_that_may_be_of_a_secret_hides_every_text(name: str) -> None:
    assert not is_setting(name)
    texts: list[Any] = ["a", "b", b"c", None, UUID(int=1), Path("d"), ["e", "f"], {"g": "h"}, {"i"}, (), Held(j="k")]
    assert not any(counted(name, text) for text in texts)
    assert same_code(code(**{name: None}), code(**{name: "given"})) is True


NO_SECRETS: list[tuple[Any, Any]] = [
    (3, 9),
    (1, 1.0),
    (1, True),
    (True, False),
    (0.5, 0.25),
    (Fraction(1, 2), Fraction(1, 3)),
    (timedelta(1), timedelta(2)),
    (range(2), range(3)),
    ([1, 2], [1, 3]),
    ((1, "a"), (2, "a")),
    ({1, 2}, {1, 3}),
    ({"a": 1}, {"a": 2}),
    ({"a": {"b": [1]}}, {"a": {"b": [2]}}),
    (np.array([1, 2]), np.array([1, 3])),
    (np.float64(1), np.float64(2)),
    (None, True),
    (Kind.WORD, 3),
]


@pytest.mark.parametrize("pair", NO_SECRETS, ids=repr)
@pytest.mark.parametrize("name", ["token", "secret", "credentials", "private_x", "tokens"])
def test_what_cannot_be_a_secret_counts_under_any_name(name: str, pair: tuple[Any, Any]) -> None:
    one, other = pair
    assert same_code(code(**{name: one}), code(**{name: other})) is False
    assert same_code(code(**{name: one}), code(**{name: one})) is True


def test_the_texts_beside_numbers_do_not_count() -> None:
    one = code(private={"user": "a", "port": 1}, tokens=[1, "a", None])
    assert same_code(one, code(private={"other": "b", "port": 1, "more": "c"}, tokens=[1, "b", "c"])) is True
    assert same_code(one, code(private={"user": "a", "port": 2}, tokens=[1, "a", None])) is False


OTHERWISE_IN_EACH_PROCESS: dict[str, Any] = {
    "token": lambda: secrets.token_hex(8),
    "csrf_token": lambda: secrets.randbits(64) | 1 << 63,
    "secret": uuid4,
    "private_key": lambda: np.frombuffer(secrets.token_bytes(16), "u1"),
    "token_expires_at": lambda: time.time() + 3600,
    "token_expiry": lambda: datetime.now(UTC),
    "token_age": lambda: secrets.randbelow(1 << 30),
    "tokens_used": lambda: secrets.randbelow(1 << 30),
    "total_tokens": lambda: secrets.randbelow(1 << 30),
    "prompt_tokens": lambda: secrets.randbelow(1 << 30),
    "password": lambda: secrets.randbelow(10_000),
    "api_key": lambda: [secrets.randbelow(10_000)],
    "credentials": lambda: Held(expiry=time.time(), retries=secrets.randbelow(1 << 30)),
}


@pytest.mark.parametrize("name", OTHERWISE_IN_EACH_PROCESS)
def test_what_a_process_has_of_its_own_does_not_count(name: str) -> None:
    assert not counted(name, OTHERWISE_IN_EACH_PROCESS[name]())


def test_a_field_that_cannot_be_read_does_not_count() -> None:
    @dataclass
    class Model:
        rate: float = 0.5
        token: str = field(default="", init=False)

    def no_token(self: Any) -> str:
        raise RuntimeError("log in first")

    Model.token = property(no_token, lambda self, value: None)  # type: ignore[assignment]
    assert [*of_code(functools.partial(node, model=Model())).bound] == ["model.rate"]


# Members of enumerations.


def test_a_members_value_counts_for_every_kind_of_enumeration() -> None:
    def of(kind: Any, **members: Any) -> CodeFingerprint:
        made = kind("Made", members, module=__name__)
        first = next(iter(made))
        return of_code(functools.partial(node, model=first))

    pairs: list[tuple[Any, Any, Any]] = [
        (Enum, "linear", "theilsen"), (Enum, 1, 1.0), (Enum, (1, "a"), (1, "b")), (Enum, {"a": [1]}, {"a": [2]}),
        (IntEnum, 1, 2), (StrEnum, "a", "b"), (Flag, 1, 2), (IntFlag, 1, 4), (Enum, int, float),
        (Enum, Held(rate=1), Held(rate=2)), (Enum, Held(), 1), (Enum, Kind.WORD, "word"),
    ]  # fmt: skip
    for kind, one, other in pairs:
        assert same_code(of(kind, A=one), of(kind, A=other)) is False, (kind, one, other)
        assert same_code(of(kind, A=one), of(kind, A=one)) is True, (kind, one)
        more = 8 if kind in (IntEnum, Flag, IntFlag) else "z"
        assert same_code(of(kind, A=one), of(kind, A=one, Z=more, ALIAS=one)) is True, (kind, one)
    assert same_code(of(Enum, A=auto()), of(Enum, A=auto(), B=auto())) is True
    assert same_code(of(Flag, A=auto()), of(Flag, A=auto(), B=auto())) is True
    assert same_code(of(Enum, API_TOKEN="one"), of(Enum, API_TOKEN="two")) is True
    assert same_code(of(Enum, API_TOKEN=1), of(Enum, API_TOKEN=2)) is False


def test_members_count_wherever_they_are_bound() -> None:
    def member(value: str) -> Any:
        return Enum("Mode", {"FAST": value}, module=__name__).FAST  # type: ignore[attr-defined]

    @dataclass(frozen=True)
    class Frozen:
        mode: Any

    places: list[Any] = [
        lambda one: functools.partial(node, model=one),
        lambda one: functools.partial(node, model=[{one: 1}]),
        lambda one: functools.partial(node, model=Held(mode=one)),
        lambda one: functools.partial(node, model=Held(token=one)),
        lambda one: functools.partial(node, model=Frozen(one)),
        lambda one: functools.partial(node, model=functools.partial(node, model=one)),
        lambda one: functools.partial(node, model=Enum("Outer", {"A": (one, 1)}, module=__name__).A),  # type: ignore[attr-defined]
    ]
    for place in places:
        assert same_code(of_code(place(member("a"))), of_code(place(member("b")))) is False
        assert same_code(of_code(place(member("a"))), of_code(place(member("a")))) is True


# What is stored.

SECRETS = ("hunter2", "correct horse", "battery-staple", "s3cr3t", "geheim")


def forms(secret: str) -> list[bytes]:
    """A secret, and every digest that could be made of it alone."""
    member = Enum("Vault", {"API_TOKEN": secret}, module=__name__)
    values: list[Any] = [secret, secret.encode(), [secret], (secret,), {secret}, {"key": secret}, [["key", secret]]]
    digests = [bytes.fromhex(of_value(value)) for value in (*values, *member)]
    digests += [scalar(secret), hashed("str", secret.encode()), hashed("list", scalar(secret))]
    digests += [bytes.fromhex(of_value([of_value(value)])) for value in values]
    found = [secret.encode()]
    for digest in digests:
        found += [digest[:8], digest.hex()[:16].encode()]
    return found


def test_no_secret_and_no_digest_of_one_is_in_the_store(tmp_path: Path) -> None:
    one, two, three, four, five = SECRETS
    vault = Enum("Vault", {"API_TOKEN": one}, module=__name__)
    keys = StrEnum("Secrets", {"A": two}, module=__name__)
    model = Held(
        token=one,
        api_key=two.encode(),
        private=[three, 7, {"password": four}],
        credentials={"user": five, five: 3},
        inner=Held(client_secret=(one,), passwords={two}),
        limits={"max_tokens": 11},
        max_tokens=3,
    )
    graph = StateGraph("kept", store=f"sqlite:///{tmp_path}/runs.db")
    graph.add_node("ask", functools.partial(node, model=[model, vault.API_TOKEN, keys.A]))  # type: ignore[attr-defined]
    graph.add_node("fail", lambda state: 1 / 0)  # type: ignore[arg-type,return-value]
    graph.sequence("ask", "fail")
    with suppress(ExecutionError):
        graph.execute({}, run_id="r")
    with closing(sqlite3.connect(tmp_path / "runs.db")) as db:
        stored = "\n".join(db.iterdump()).encode()
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        cells = [cell for name in tables for row in db.execute(f'SELECT * FROM "{name}"') for cell in row]
    stored += b"".join(cell for cell in cells if isinstance(cell, bytes))
    stored += b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert of_value(3)[:16].encode() in stored  # what is stored can be found
    assert b"model[0].max_tokens" in stored
    assert [form for secret in SECRETS for form in forms(secret) if form in stored] == []
    with pytest.raises(Exception, match=r"model\[0\].max_tokens, which is bound") as caught:
        changed(graph, Held(**{**vars(model), "max_tokens": 9, "token": "another"}), vault, keys)
    assert not any(secret in str(caught.value) for secret in (*SECRETS, "another"))


def changed(graph: StateGraph, model: Any, vault: Any, keys: Any) -> None:
    again = StateGraph("kept", store=graph.store)
    again.add_node("ask", functools.partial(node, model=[model, vault.API_TOKEN, keys.A]))
    again.add_node("fail", lambda state: 1 / 0)  # type: ignore[arg-type,return-value]
    again.sequence("ask", "fail")
    again.resume("r")


class RuleTwo(msgspec.Struct, array_like=True):
    """As a version of tau reads it that does not know the third rule."""

    python: str
    bytecode: str
    ast: str | None = None
    rule: int = 1
    now: tuple[str, str | None] | None = None
    bound: dict[str, str] = {}
    name: str = ""


def test_an_older_version_compares_by_its_own_rule_what_a_newer_one_stored() -> None:
    def read(found: CodeFingerprint) -> RuleTwo:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=RuleTwo)

    found = read(code(rate=0.5, max_tokens=3, token="a", mode=Kind.WORD))
    assert found == read(code(rate=0.5, max_tokens=9, token="b", mode=Kind.WORD))
    assert (found.rule, [*found.bound]) == (2, ["model.rate", "model.mode"])
    assert found != read(code(rate=0.75, max_tokens=3, token="a", mode=Kind.WORD))
