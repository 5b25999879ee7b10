"""Tests of digests share a small data set, its name, and what is read for it."""

from tests.helpers.digests import images, named, reads, short_wait

__all__ = ["images", "named", "reads", "short_wait"]
