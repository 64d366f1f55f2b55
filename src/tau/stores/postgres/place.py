"""Where a PostgreSQL store is: what a driver needs to get there, and what may be told of it."""

from __future__ import annotations

import os
from hashlib import sha256

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tau.errors import ConfigError
from tau.stores import server_urls


class Place:
    """``location`` is for people and messages, ``parameters`` are for the driver and may hold a password."""

    def __init__(self, location: str, parameters: dict[str, str], durability: str) -> None:
        self.location = location
        self.parameters = parameters
        self.durability = durability

    @classmethod
    def of(cls, url: str) -> Place:
        """Raises `ConfigError` for a URL that libpq does not understand."""
        address = server_urls.postgres(url)
        try:
            parameters = {name: str(value) for name, value in conninfo_to_dict(address.url).items()}
            return cls(address.location, parameters, address.own.get("durability", "strict"))
        except psycopg.Error as error:
            said = "libpq does not understand it" if address.secret else str(error).strip()
        raise ConfigError(  # not in the block above: the error of libpq, which quotes what it met, would go with it
            f"{address.location!r} is not a PostgreSQL URL: {said}; write postgresql://user@host:port/database, "
            "with % and other reserved signs percent-encoded"
        )

    def hide(self, text: str) -> str:
        """``text`` without the passwords that are known here."""
        known = {value for name, value in self.parameters.items() if "password" in name}
        for secret in {*known, os.environ.get("PGPASSWORD", "")}:
            text = text.replace(secret, "***") if len(secret) > 2 else text
        return text

    def __repr__(self) -> str:
        return f"Place({self.location!r})"


def key_of(run_id: str) -> bytes:
    """What the tables know a run by: an index holds no text of any length, and sorts none the same for ever."""
    return sha256(run_id.encode("utf-8", "surrogatepass")).digest()[:16]
