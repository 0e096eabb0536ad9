"""Digests: short names for everything that decides a result."""

import hashlib
import json
from typing import Any


def digest_of(content: dict[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of plain values as sorted JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
