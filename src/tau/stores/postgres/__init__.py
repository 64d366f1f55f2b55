"""The PostgreSQL store."""

from tau.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
