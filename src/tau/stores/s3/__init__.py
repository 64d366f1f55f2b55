"""Runs in a bucket of S3, or of a service that speaks its protocol and refuses what a condition forbids."""

from tau.stores.s3.store import S3Store

__all__ = ["S3Store"]
