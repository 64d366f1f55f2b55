"""URLs of S3: what they mean, what of them is shown, what is refused. No service is asked."""

from __future__ import annotations

import sys

import pytest

from tau.errors import ConfigError
from tau.stores import open_store
from tau.stores.s3 import S3Store
from tau.stores.urls import parse

VARIABLES = (
    "TAU_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a?region=eu-central-1&endpoint=https%3A%2F%2Fhost%3A9000",
         "s3://bucket/a?endpoint=https://host:9000&region=eu-central-1"),
        ("s3://bucket/a?endpoint=http://[::1]:9000", "s3://bucket/a?endpoint=http://[::1]:9000"),
    ],
)  # fmt: skip
def test_a_location_is_the_url_in_one_spelling(url: str, location: str) -> None:
    assert parse(url)[:2] == ("s3", location)
    store = open_store(url)
    assert isinstance(store, S3Store)
    assert store.location == location
    assert open_store(store.location) is store
    store.close()


def test_what_a_url_leaves_out_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And by the bare name, all of it; what the URL says counts more."""
    monkeypatch.setenv("TAU_S3", "s3://bucket/runs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://host:9000")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "here")
    store = open_store("s3")
    assert store.location == "s3://bucket/runs?endpoint=https://host:9000&region=here"
    assert open_store("s3://bucket/runs") is open_store("s3") is store
    monkeypatch.setenv("AWS_REGION", "there")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.host")
    assert open_store("s3://other").location == "s3://other?endpoint=https://s3.host&region=there"
    given = "s3://other?endpoint=https://mine&region=mine"
    assert open_store(given).location == given


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("s3", "export TAU_S3=s3://bucket/prefix"),
        ("s3:bucket/prefix", "s3://bucket/prefix"),
        ("s3://key:sesame@bucket/prefix", "set AWS_ACCESS_KEY_ID"),
        ("s3://b/p", "3 to 63"),
        ("s3://bucket/a//b", "no part of it is empty"),
        ("s3://bucket/../b", "no part of it is empty"),
        ("s3://bucket/a%2Fb", "letters, digits, slashes"),
        ("s3://bucket/" + "x" * 601, "at most 600"),
        ("s3://bucket/a?secret_access_key=sesame", "comes from the environment"),
        ("s3://bucket/a?durability=relaxed", "endpoint and region"),
        ("s3://bucket/a?endpoint=https://key:sesame@host", "without user and password"),
        ("s3://bucket/a?endpoint=ftp://host", "https://host:port"),
        ("s3://bucket/a?region=a/b", "eu-central-1"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_and_not_shown(url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        open_store(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_secret_is_kept_where_it_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "sesame")
    store = S3Store("s3://bucket/prefix")
    bucket = store._objects._at()
    for text in (repr(store), repr(vars(store)), repr(store._place), repr(bucket), str(bucket)):
        assert "sesame" not in text
    with pytest.raises(ConfigError, match="timeout is more than 0"):
        S3Store("s3://bucket/prefix", timeout=0.0)


def test_without_obstore_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tau.stores.s3", "obstore"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigError, match=r"needs obstore.*pip install 'tau-orchestrate\[s3\]'"):
        open_store("s3://somewhere/else")


def test_its_lease_is_long_as_every_renewal_is_paid_for() -> None:
    assert S3Store("s3://bucket").default_lease == 300.0


def test_its_deletions_leave_a_position() -> None:
    """So an import or a fork may commit in parts, and one that was killed is begun again."""
    assert S3Store("s3://bucket").forgets is False
