"""The Redis store; Valkey is the same to it."""

from tau.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
