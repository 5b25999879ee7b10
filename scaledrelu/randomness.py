"""Keyed randomness: every draw is a function of what it is for, never of who draws it when.

Worker counts, device counts and restarts then cannot change an experiment.
"""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part and on their order.

    Args:
        parts: what the draw is for, e.g. ``(seed, "drop_path", step, group)``.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
