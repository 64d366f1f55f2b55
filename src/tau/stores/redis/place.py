"""Where a Redis store is: what redis-py needs to get there, and what may be told of it."""

from __future__ import annotations

from typing import Any, Final

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import RedisError

from tau.errors import ConfigError
from tau.stores import server_urls

Opener = Connection | SSLConnection | UnixDomainSocketConnection

_OURS: Final = ("db", "username", "password")  # what tau itself says to the server
_KNOWN: Final = frozenset({*_OURS, "host", "port", "path", "socket_connect_timeout", "socket_keepalive"})
_CONNECT_TIMEOUT: Final = 10.0  # seconds


class Place:
    """``location`` is for people and messages. ``database`` is its number; a ``password`` is for nobody to see."""

    def __init__(self, location: str, options: dict[str, Any], durability: str) -> None:
        self.location = location
        self.database = int(options.get("db", 0))
        self.user = str(options.get("username", "default"))
        self.password = str(options.get("password", ""))
        self.durability = durability
        self._kind = options.get("connection_class", Connection)
        self._options = {name: value for name, value in options.items() if name not in (*_OURS, "connection_class")}
        self._options.setdefault("socket_connect_timeout", _CONNECT_TIMEOUT)

    @classmethod
    def of(cls, url: str) -> Place:
        """Raises `ConfigError` for a URL that redis-py does not understand."""
        address = server_urls.redis(url)
        try:
            options: dict[str, Any] = parse_url(address.url)  # type: ignore[no-untyped-call]
            odd = [name for name in options if name not in _KNOWN and not name.startswith(("ssl_", "connection_class"))]
            if odd:
                raise ValueError(f"no option is called {odd[0]!r}")
            place = cls(address.location, options, address.own.get("durability", "strict"))
            place.opener(30.0)
            return place
        except (ValueError, TypeError, RedisError) as error:
            said = "redis-py does not understand it" if address.secret else str(error)
        raise ConfigError(  # not in the block above: the error of redis-py, which may quote it, would go with it
            f"{address.location!r} is not a Redis URL: {said}; write redis://user@host:port/database, rediss:// "
            "for TLS, or unix:///path/to/socket?db=database, with % and other reserved signs percent-encoded"
        )

    def opener(self, silence: float) -> Opener:
        """What opens a connection, and says nothing to the server."""
        found: Opener = self._kind(**self._options, socket_timeout=silence, redis_connect_func=_say_nothing, protocol=2)
        return found

    def hide(self, text: str) -> str:
        """``text`` without the password."""
        return text.replace(self.password, "***") if len(self.password) > 2 else text

    def __repr__(self) -> str:
        return f"Place({self.location!r})"


def _say_nothing(opener: object) -> None:
    pass
