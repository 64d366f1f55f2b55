"""URLs of servers: what they mean, what of them is shown, what is refused. No server is asked."""

from __future__ import annotations

import sys

import pytest

from tau.errors import ConfigError
from tau.stores import open_store
from tau.stores.postgres import PostgresStore
from tau.stores.redis import RedisStore
from tau.stores.server_urls import postgres, redis
from tau.stores.urls import parse

VARIABLES = ("REDIS_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGPASSWORD", "PGHOSTADDR")


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("postgresql://", "postgresql://"),
        ("postgres://h/d", "postgresql://h/d"),
        ("postgresql://u:sesame@h:5433/d", "postgresql://u@h:5433/d"),
        ("postgresql://u:s%40same@h/d", "postgresql://u@h/d"),
        ("postgresql://:sesame@h/d", "postgresql://h/d"),
        ("postgresql://u:sesame@h1:1,h2:2/d?target_session_attrs=read-write",
         "postgresql://u@h1:1,h2:2/d?target_session_attrs=read-write"),
        ("postgresql://u@[::1]:5432/d", "postgresql://u@[::1]:5432/d"),
        ("postgresql://u@%2Frun%2Fpg/d", "postgresql://u@%2Frun%2Fpg/d"),
        ("postgresql:///d?host=/run/pg&password=sesame&sslpassword=sesame", "postgresql:///d?host=/run/pg"),
        ("postgresql://h/d?durability=relaxed", "postgresql://h/d?durability=relaxed"),
    ],
)  # fmt: skip
def test_a_location_is_the_url_without_its_passwords(url: str, location: str) -> None:
    found = parse(url)
    assert (found.kind, found.path) == ("postgres", location)
    store = open_store(url)
    assert isinstance(store, PostgresStore)
    assert store.location == location
    for text in (repr(found), repr(postgres(url)), repr(store), repr(vars(store))):
        assert "same" not in text
    assert open_store(store.location) is store
    store.close()


def test_what_a_url_leaves_out_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And by the bare name, all of it."""
    for name, value in (("PGHOST", "/run/pg"), ("PGPORT", "5433"), ("PGUSER", "a@b"), ("PGDATABASE", "d d")):
        monkeypatch.setenv(name, value)
    store = open_store("postgres")
    assert store.location == "postgresql://a%40b@%2Frun%2Fpg:5433/d%20d"
    assert open_store("postgres") is store
    assert open_store("postgresql://") is store
    assert open_store("postgresql://other").location == "postgresql://a%40b@other:5433/d%20d"
    assert open_store("postgresql://u@h1:1,h2:2/e").location == "postgresql://u@h1:1,h2:2/e"
    assert open_store("postgresql://?service=s").location == "postgresql://?service=s"
    monkeypatch.setenv("PGSERVICE", "s")
    assert open_store("postgresql://").location == "postgresql://"


def test_two_passwords_are_two_stores() -> None:
    """A wrong one must not stay with a place for as long as its store is in use."""
    wrong, right = open_store("postgresql://u:wrong@h/d"), open_store("postgresql://u:right@h/d")
    assert wrong is not right
    assert open_store("postgresql://u:right@h/d") is right
    assert open_store("postgresql://u@h/d") in (wrong, right)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("postgresql:h/d", "two slashes"),
        ("postgres:sesame", "two slashes"),
        ("postgresql://u:ses@me@h/d", "%40"),
        ("postgresql://u:ses/ame@h/d", "%2F"),
        ("postgresql://u:ses#ame@x@h/d", "%23"),
        ("postgresql://u:ses?ame@h/d", "%3F"),
        ("postgresql://u:sesame", "percent-encode"),
        ("postgresql://u:sesame@h/d\0", "NUL"),
        ("postgresql://u:%zzsesame@h/d", "libpq does not understand it"),
        ("postgresql://u:sesame@h:port/d", "port"),
        ("postgresql://u:sesame@h/d?colour=red", "not a PostgreSQL URL"),
        ("postgresql://h/d?colour=red", "colour"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_password(url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        open_store(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "ses" not in str(error), error
        error = error.__cause__
    assert "ame" not in str(caught.value).replace("parameter", "")


def test_without_psycopg_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tau.stores.postgres", "psycopg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"needs psycopg.*pip install 'tau-orchestrate\[postgres\]'"):
        open_store("postgresql://somewhere/else")


# Redis


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://h", "redis://h:6379/0"),
        ("valkey://", "redis://localhost:6379/0"),
        ("valkey://u:sesame@h/1", "redis://u@h:6379/1"),
        ("valkeys://:sesame@h", "rediss://h:6379/0"),
        ("redis://h/", "redis://h:6379/0"),
        ("redis://h:6380/07", "redis://h:6380/7"),
        ("redis:///3", "redis://localhost:6379/3"),
        ("redis://h?db=4", "redis://h:6379/4"),
        ("redis://u:sesame@h:1/2", "redis://u@h:1/2"),
        ("redis://:s%40same@h", "redis://h:6379/0"),
        ("redis://u@[::1]:7/2", "redis://u@[::1]:7/2"),
        ("redis://u@[::1]/2", "redis://u@[::1]:6379/2"),
        ("rediss://:sesame@h/1?ssl_ca_certs=/a.pem&ssl_password=sesame", "rediss://h:6379/1?ssl_ca_certs=/a.pem"),
        ("redis://h/0?password=sesame&username=u", "redis://h:6379/0?username=u"),
        ("redis://h/0?durability=relaxed", "redis://h:6379/0?durability=relaxed"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=0"),
        ("unix://u:sesame@/run/valkey.sock?db=3", "unix://u@/run/valkey.sock?db=3"),
    ],
)
def test_a_location_of_redis_is_the_url_without_its_passwords(url: str, location: str) -> None:
    """And with its port and its database, so that one place is one store."""
    found = parse(url)
    assert (found.kind, found.path) == ("redis", location)
    store = open_store(url)
    assert isinstance(store, RedisStore)
    assert store.location == location
    shown = (repr(found), repr(redis(url)), repr(store), repr(vars(store)), repr(vars(store._connections)))
    assert not any("same" in text for text in shown)
    assert open_store(store.location) is store
    store.close()


def test_the_bare_name_of_redis_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://u:sesame@h:7/3?durability=relaxed")
    store = open_store("redis")
    assert isinstance(store, RedisStore)
    assert store.location == "rediss://u@h:7/3?durability=relaxed"
    assert store._connections._place.password == "sesame"
    assert open_store("redis://") is store
    assert RedisStore().location == store.location
    assert open_store("redis://other").location == "redis://other:6379/0"
    for wrong in ("http://u:sesame@h", "sesame"):
        monkeypatch.setenv("REDIS_URL", wrong)
        with pytest.raises(ConfigError, match="REDIS_URL does not begin with") as caught:
            open_store("redis")
        assert "sesame" not in str(caught.value)


def test_a_wrong_password_of_redis_does_not_stay_with_a_place() -> None:
    wrong, right = open_store("redis://u:wrong@h/1"), open_store("redis://u:right@h/1")
    assert wrong is not right
    assert open_store("redis://u:right@h:6379/1") is not wrong
    assert open_store("redis://u@h/1") in (wrong, right)
    assert open_store("redis://u@h/2") not in (wrong, right)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("redis:h/1", "two slashes"),
        ("redis:sesame", "two slashes"),
        ("unix:/run/valkey.sock", "two slashes"),
        ("unix://run/valkey.sock", "a path from the root"),
        ("unix:///run/valkey.sock?db=x", "a number as database"),
        ("redis://h/name", "a number as database"),
        ("redis://h/1/2", "a number as database"),
        ("redis://h/-1", "a number as database"),
        ("redis://u:ses@me@h/1", "%40"),
        ("redis://u:ses/ame@h/1", "%2F"),
        ("redis://u:ses#ame@x@h/1", "%23"),
        ("redis://u:ses?ame@h/1", "%3F"),
        ("redis://u:sesame", "percent-encode"),
        ("redis://u:sesame@h/0\0", "NUL"),
        ("redis://u:sesame@h:port/1", "port"),
        ("redis://u:sesame@h/1?colour=red", "not a Redis URL"),
        ("redis://h/1?colour=red", "no option is called 'colour'"),
        ("redis://h/1?ssl_cert_reqs=none", "not a Redis URL"),
        ("redis://h/1?encoding=latin-1", "no option is called 'encoding'"),
        ("rediss://h/1?ssl_cert_reqs=sometimes", "Invalid SSL Certificate Requirements"),
    ],
)
def test_a_url_of_redis_that_cannot_be_meant_is_refused_without_its_password(url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        open_store(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "ses" not in str(error), error
        assert "ame@" not in str(error), error
        error = error.__cause__


def test_without_redis_py_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tau.stores.redis") or name.split(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"needs redis-py.*pip install 'tau-orchestrate\[redis\]'"):
        open_store("redis://somewhere/1")
