"""Recipes and digests: what makes two runs of a stage the same, and the keys under which their output is found.

Belongs here: canonical JSON, content digests, the version of each stage. Does not belong here: keyed (secret)
functions, which are in `oncurate.identity`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

STAGE_VERSIONS = {"index": 3, "deidentify": 3, "convert": 3, "harmonise": 2, "annotate": 1, "check": 2}
"""Raise a stage's number when the same input would give other output; every key that depends on it changes."""


def canonical_json(value: Any) -> bytes:
    """`value` as JSON with sorted keys, no spaces and no NaN: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return sha256_hex(canonical_json(value))


def name_of(raw: bytes) -> str:
    """32 bytes as a 52-character lower-case base32 name: safe in paths, object keys and URLs, nothing cut off."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def content_name(value: Any) -> str:
    """A 52-character name that changes exactly when `value` does."""
    return name_of(hashlib.sha256(canonical_json(value)).digest())
