"""What an S3 server states about an object's bytes, as hashes that run while they pass.

Belongs here: checksums of whole objects, and ETags where they are made of MD5. Does not belong here: requests
(`oncurate.sources.bucket`), comparing (`oncurate.sources.streams.Verified`).

Source: Amazon S3 user guide, "Checking object integrity", and the API's Object type (ETag).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from oncurate.sources.streams import Hash

_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")


class _Crc:
    """A cyclic redundancy check as a hash: `step(data, value)` goes on from `value`; the digest is big-endian."""

    def __init__(self, step: Callable[[Any, int], int], size: int) -> None:
        self._step, self._size, self._value = step, size, 0

    def update(self, data: Any, /) -> None:
        self._value = self._step(data, self._value)

    def hexdigest(self) -> str:
        return self._value.to_bytes(self._size, "big").hex()


class MultipartMd5:
    """The ETag of an object uploaded in parts of `part_bytes`: the MD5 of their MD5 digests, a dash, their number.

    Parts are independent: those that `note` has seen whole, from any thread, are not hashed again.
    """

    def __init__(self, part_bytes: int, size: int) -> None:
        self.part_bytes, self._size, self._at = part_bytes, size, 0
        self._part, self._whole = _md5(), _md5()
        self._noted: dict[int, bytes] = {}
        self._is_noted = False

    def note(self, start: int, data: memoryview) -> None:
        """The bytes of the object from `start` on, before they are given to `update`."""
        for first in range(-start % self.part_bytes, len(data), self.part_bytes):
            part = data[first : first + self.part_bytes]
            if len(part) == self.part_bytes or start + len(data) == self._size:
                digest = _md5()
                digest.update(part)
                self._noted[start + first] = digest.digest()

    def update(self, data: Any, /) -> None:
        view = memoryview(data)
        while len(view):
            within = self._at % self.part_bytes
            if not within:  # one that began without `note` is hashed to its end
                self._is_noted = self._at in self._noted
            piece = view[: self.part_bytes - within]
            if not self._is_noted:
                self._part.update(piece)
            self._at += len(piece)
            if within + len(piece) == self.part_bytes or self._at == self._size:
                self._end_part(self._at - within - len(piece))
            view = view[len(piece) :]

    def hexdigest(self) -> str:
        return f"{self._whole.hexdigest()}-{-(-self._at // self.part_bytes)}"

    def _end_part(self, first: int) -> None:
        self._whole.update(self._noted.pop(first) if self._is_noted else self._part.digest())
        self._part = _md5()


def stated_sum(head: Mapping[str, Any]) -> tuple[Hash, str] | None:
    """The quickest checksum of the whole object that an answer to HeadObject or GetObject states; None without one.

    Checksums of type COMPOSITE, which are of the parts, are none of the object.
    """
    if head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    for name, running in _ALGORITHMS.items():
        text = head.get(f"Checksum{name}", "")
        if text and "-" not in text:
            try:
                return running(), base64.b64decode(text, validate=True).hex()
            except binascii.Error:
                continue
    return None


def etag_sum(head: Mapping[str, Any], etag: str) -> tuple[Hash, str] | None:
    """The ETag as a checksum: the MD5 of an object in one part that no key of KMS or of the customer encrypts."""
    return (_md5(), etag) if _MD5.fullmatch(etag) and not _hides_md5(head) else None


def parts_of(head: Mapping[str, Any], etag: str) -> int | None:
    """How many parts an ETag is made of; None where it is none that is made of the MD5 of parts."""
    found = _MD5_OF_PARTS.fullmatch(etag)
    return int(found[1]) if found and not _hides_md5(head) else None


def _hides_md5(head: Mapping[str, Any]) -> bool:
    return head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _crc64nvme() -> Hash:
    from awscrt.checksums import crc64nvme

    return _Crc(crc64nvme, 8)


def _crc32c() -> Hash:
    from awscrt.checksums import crc32c

    return _Crc(crc32c, 4)


_ALGORITHMS: dict[str, Callable[[], Hash]] = {
    "CRC64NVME": _crc64nvme,
    "CRC32C": _crc32c,
    "CRC32": lambda: _Crc(zlib.crc32, 4),
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
}
"""By the suffix of the answer's fields, the quickest first."""
