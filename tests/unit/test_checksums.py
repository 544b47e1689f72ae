"""Checksums that S3 servers state: the check values of their definitions, parts, and what is none of the object."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import pytest

from oncurate.sources.checksums import MultipartMd5, etag_sum, parts_of, stated_sum

CHECK = b"123456789"
"""The input of the check values in the catalogue of CRC algorithms."""
DATA = os.urandom(100_003)


def stated(name: str, digest: bytes, **more: Any) -> dict[str, Any]:
    return {f"Checksum{name}": base64.b64encode(digest).decode(), **more}


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("CRC64NVME", "ae8b14860a799888"),
        ("CRC32C", "e3069283"),
        ("CRC32", "cbf43926"),
        ("SHA1", hashlib.sha1(CHECK).hexdigest()),
        ("SHA256", hashlib.sha256(CHECK).hexdigest()),
    ],
)
def test_each_algorithm_gives_its_check_value(name: str, digest: str) -> None:
    found = stated_sum(stated(name, bytes.fromhex(digest), ChecksumType="FULL_OBJECT"))
    assert found is not None
    running, wanted = found
    for piece in (CHECK[:4], memoryview(CHECK)[4:]):
        running.update(piece)  # type: ignore[arg-type]
    assert running.hexdigest() == wanted == digest


def test_checksums_of_parts_are_none_of_the_object() -> None:
    assert stated_sum(stated("SHA256", b"x" * 32, ChecksumType="COMPOSITE")) is None
    assert stated_sum({"ChecksumCRC32": base64.b64encode(b"abcd").decode() + "-3"}) is None
    assert stated_sum({"ChecksumCRC32": "not base64!"}) is None
    assert stated_sum({}) is None


@pytest.mark.parametrize("part", [1, 1000, 50_000, len(DATA), len(DATA) + 1])
@pytest.mark.parametrize("step", [777, 1 << 20])
def test_the_etag_of_parts(part: int, step: int) -> None:
    pieces = [DATA[at : at + part] for at in range(0, len(DATA), part)]
    expected = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()
    for range_bytes in (0, 333, 3000, 100_000, len(DATA)):
        running = MultipartMd5(part, len(DATA))
        for at in range(0, len(DATA), range_bytes or len(DATA)):
            running.note(at, memoryview(DATA)[at : at + range_bytes])
        for at in range(0, len(DATA), step):
            running.update(DATA[at : at + step])
        assert running.hexdigest() == f"{expected}-{len(pieces)}"


def test_parts_of_the_etag_that_began_before_they_were_noted_are_hashed_to_their_end() -> None:
    """Bytes that an earlier transfer kept are not those that this one fetched."""
    running, sound = MultipartMd5(1000, len(DATA)), MultipartMd5(1000, len(DATA))
    running.update(b"?" * 500)
    sound.update(DATA[:500])
    for one in (running, sound):
        one.note(0, memoryview(DATA))
        one.update(DATA[500:])
    whole = MultipartMd5(1000, len(DATA))
    whole.update(DATA)
    assert sound.hexdigest() == whole.hexdigest() != running.hexdigest()


@pytest.mark.parametrize("head", [{"ServerSideEncryption": "aws:kms"}, {"SSECustomerAlgorithm": "AES256"}])
def test_an_etag_of_an_encrypted_object_says_nothing(head: dict[str, Any]) -> None:
    assert etag_sum(head, "0" * 32) is None
    assert parts_of(head, "0" * 32 + "-7") is None
    assert etag_sum({"ServerSideEncryption": "AES256"}, "0" * 32) is not None


def test_only_etags_of_md5_are_read() -> None:
    assert parts_of({}, "0" * 32 + "-7") == 7
    assert [etag_sum({}, etag) for etag in ("abc", "0" * 32 + "-7", "")] == [None] * 3
    assert [parts_of({}, etag) for etag in ("abc", "0" * 32, "0" * 31 + "-7", "")] == [None] * 4
