"""Where runs live: one contract, and the stores that keep it."""

from tau.stores.contract import Batch, Lease, Owner, PositionConflict, Query, Store, Summary
from tau.stores.registry import open_store, register_store

__all__ = [
    "Batch",
    "Lease",
    "Owner",
    "PositionConflict",
    "Query",
    "Store",
    "Summary",
    "open_store",
    "register_store",
]
