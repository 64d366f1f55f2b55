"""Runs in one SQLite file."""

from tau.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
