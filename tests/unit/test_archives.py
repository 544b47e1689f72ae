"""Archive files of every kind are unpacked once, hostile ones are refused with a reason, and nothing escapes."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import random
import tarfile
import time
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest

from oncurate import archives
from oncurate.archive_formats import HEAD_BYTES, Format, format_of
from oncurate.archives import ArchiveLimits, unpack
from oncurate.errors import Rejection
from oncurate.reasons import Reason

FILES = {"a.dcm": b"one" * 1000, "deep/er/b": b"two", "ä ö.dcm": b"three"}


def zipped(files: Mapping[str, bytes], **kind: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **kind or {"compression": zipfile.ZIP_DEFLATED}) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zstded(files: Mapping[str, bytes]) -> bytes:
    """A tar compressed with Zstandard, in two frames."""
    from backports import zstd

    data = tarred(files)
    return zstd.compress(data[:700]) + zstd.compress(data[700:])


def unpacked(data: bytes, name: str = "x", **limits: float) -> tuple[dict[str, bytes | Reason], Reason | None]:
    """Path -> bytes or reason, in order, and why the archive itself stopped."""
    found: dict[str, bytes | Reason] = {}
    kind = format_of(data[:HEAD_BYTES], name)
    assert kind is not None
    try:
        for member in unpack(io.BytesIO(data), kind, name, len(data), ArchiveLimits(**limits)):
            assert member.path not in found
            if member.content is not None:
                content = member.content.read()
                assert member.reason is None
                assert member.bytes == len(content)
                assert member.sha256 == hashlib.sha256(content).hexdigest()
            found[member.path] = member.reason or content
    except Rejection as refused:
        return found, refused.reason
    return found, None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (zipped(FILES), Format.ZIP),
        (zipped(FILES, compression=zipfile.ZIP_STORED), Format.ZIP),
        (zipped(FILES, compression=zipfile.ZIP_BZIP2), Format.ZIP),
        (zipped(FILES, compression=zipfile.ZIP_LZMA), Format.ZIP),
        (tarred(FILES), Format.TAR),
        (tarred(FILES, "w:gz"), Format.GZIP),
        (tarred(FILES, "w:bz2"), Format.BZIP2),
        (tarred(FILES, "w:xz"), Format.XZ),
    ],
)
def test_every_kind_gives_its_members(data: bytes, kind: Format) -> None:
    assert format_of(data[:HEAD_BYTES], "x") is kind
    assert unpacked(data) == (FILES, None)


@pytest.mark.parametrize(
    ("packed", "name"), [(gzip.compress, "a/b.dcm.gz"), (bz2.compress, "b.dcm.BZ2"), (lzma.compress, "b.dcm.xz")]
)
def test_a_single_compressed_file_has_one_member(packed, name: str) -> None:
    assert unpacked(packed(b"content"), name) == ({"b.dcm": b"content"}, None)


def test_zstandard_archives_and_files_are_unpacked() -> None:
    from backports import zstd

    assert format_of(zstded(FILES)[:HEAD_BYTES], "x") is Format.ZSTD
    assert unpacked(zstded(FILES)) == (FILES, None)
    assert unpacked(zstd.compress(b"content"), "a/b.dcm.zst") == ({"b.dcm": b"content"}, None)
    skipped = b"\x50\x2a\x4d\x18\x01\x00\x00\x00x"  # as pzstd begins (RFC 8878, 3.1.2)
    assert unpacked(skipped + zstded(FILES)) == (FILES, None)


def test_a_truncated_or_damaged_zstandard_file_is_noticed() -> None:
    from backports import zstd

    data = zstd.compress(random.Random(1).randbytes(50_000))
    assert unpacked(data[:-1000], "b.zst") == ({"b": Reason.BROKEN_ARCHIVE}, Reason.BROKEN_ARCHIVE)
    damaged = bytearray(zstd.compress(b"x" * 50_000 + random.Random(1).randbytes(50_000)))
    damaged[20] ^= 0xFF
    damaged[4] ^= 0x08  # a reserved bit of the frame header (RFC 8878, 3.1.1.1.1)
    assert unpacked(bytes(damaged), "b.zst")[1] is Reason.BROKEN_ARCHIVE


def test_a_zstandard_bomb_is_stopped() -> None:
    found, stopped = unpacked(zstded({"a": b"1", "bomb": bytes(8 << 20)}), total_bytes=1 << 20)
    assert (found, stopped) == ({"a": b"1", "bomb": Reason.ARCHIVE_BOMB}, Reason.ARCHIVE_BOMB)


def test_what_is_no_archive_is_left_alone() -> None:
    dicom_like_zip = b"PK\x03\x04".ljust(128, b"\x00") + b"DICM"
    assert format_of(dicom_like_zip.ljust(512, b"\x00"), "x") is None
    assert format_of(bytes(512), "x.tar") is None
    assert format_of(b"", "x.zip") is None
    assert format_of(gzip.compress(b"volume"), "t1.nii.gz") is None


@pytest.mark.parametrize(
    "head", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01", b"\x1f\x9d\x90", b"PK\x07\x08PK\x03\x04", b"LZIP\x01"]
)
def test_archives_that_are_not_unpacked_say_so(head: bytes) -> None:
    assert unpacked(head.ljust(600, b"\x01")) == ({}, Reason.UNSUPPORTED_ARCHIVE)


@pytest.mark.parametrize("name", ["CD1.ISO", "a/disc.dmg", "a.z02", "a.7z.002", "a.zip.003"])
def test_images_of_discs_and_parts_of_archives_are_known_by_their_names(name: str) -> None:
    assert unpacked(bytes(600), name) == ({}, Reason.UNSUPPORTED_ARCHIVE)
    assert format_of(bytes(128) + b"DICM", name) is None
    assert format_of(zipped(FILES)[:HEAD_BYTES], name) is Format.ZIP
    assert format_of(b"", name) is None


def test_a_zip_that_was_to_be_split_and_was_not_is_unpacked() -> None:
    assert unpacked(b"PK00" + zipped(FILES)) == (FILES, None)


def test_a_zip_member_packed_in_a_way_we_cannot_undo_says_so_and_the_others_are_read() -> None:
    data = bytearray(zipped({"a": b"1", "b": b"2"}))
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.find(mark) + at] = 9  # Deflate64
    assert unpacked(bytes(data)) == ({"a": Reason.UNSUPPORTED_ARCHIVE, "b": b"2"}, None)


def test_empty_archives_and_empty_members() -> None:
    assert unpacked(zipped({})) == ({}, None)
    assert unpacked(tarred({"a": b"", "b": b"1"})) == ({"a": Reason.EMPTY_FILE, "b": b"1"}, None)


def test_folders_are_not_files() -> None:
    assert unpacked(zipped({"d/": b"", "d/a": b"1"})) == ({"d/a": b"1"}, None)


def test_a_name_that_occurs_twice_keeps_both() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("a", b"1"), ("./a", b"2"), ("a", b"3"), ("a#2", b"4")):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(data))
    assert unpacked(out.getvalue()) == ({"a": b"1", "a#2": b"2", "a#3": b"3", "a#2#2": b"4"}, None)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "..\\up", "\\\\host\\share", "C:\\x", "c:x", "a/.."]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    for data in (zipped({name: b"1", "good": b"2"}), tarred({name: b"1", "good": b"2"})):
        found, stopped = unpacked(data)
        assert sorted(map(str, found.values())) == sorted([str(b"2"), "unsafe_member"])
        assert found["good"] == b"2"
        assert stopped is None


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"?"]
)
def test_tar_members_that_are_not_files_are_refused(kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert unpacked(out.getvalue()) == ({"link": Reason.UNSAFE_MEMBER}, None)


def test_zip_links_are_refused() -> None:
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, b"/etc/passwd")
    assert unpacked(out.getvalue()) == ({"link": Reason.UNSAFE_MEMBER}, None)


def test_encrypted_members_are_refused_and_the_others_read() -> None:
    data = bytearray(zipped({"secret": b"1", "open": b"2"}))
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert unpacked(bytes(data)) == ({"secret": Reason.ENCRYPTED_MEMBER, "open": b"2"}, None)


def test_a_damaged_zip_member_does_not_cost_the_others() -> None:
    data = bytearray(zipped({"bad": b"x" * 50, "good": b"2"}, compression=zipfile.ZIP_STORED))
    data[data.index(b"xxxx")] ^= 1
    assert unpacked(bytes(data)) == ({"bad": Reason.BROKEN_ARCHIVE, "good": b"2"}, None)


def test_a_truncated_zip_is_broken() -> None:
    assert unpacked(zipped(FILES)[:-10]) == ({}, Reason.BROKEN_ARCHIVE)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_tar_keeps_what_came_before(mode: str) -> None:
    content = {f"{n}": random.Random(n).randbytes(200_000) for n in range(10)}
    data = tarred(content, mode)
    found, stopped = unpacked(data[: len(data) * 6 // 10])
    assert stopped is Reason.BROKEN_ARCHIVE
    assert 1 < len(found) < 10
    *whole, (_, last) = found.items()
    assert all(content[path] == data for path, data in whole)
    assert last is Reason.BROKEN_ARCHIVE or last == content["5"]


def test_a_tar_cut_between_members_is_noticed() -> None:
    data = tarred({"a": b"1", "b": b"2"})
    assert unpacked(data[: 2 * 512]) == ({"a": b"1"}, Reason.BROKEN_ARCHIVE)


def test_a_damaged_header_is_not_the_end_of_a_tar() -> None:
    data = bytearray(tarred({"a": b"1", "b": b"2", "c": b"3"}))
    data[2 * 512 + 5] ^= 0xFF
    assert unpacked(bytes(data)) == ({"a": b"1"}, Reason.BROKEN_ARCHIVE)


def test_content_behind_the_end_of_a_tar_is_noticed() -> None:
    data = tarred({"a": b"1"}) + tarred({"b": b"2"})
    assert unpacked(data) == ({"a": b"1"}, Reason.BROKEN_ARCHIVE)


def test_a_wrong_checksum_of_a_gzip_is_noticed() -> None:
    data = bytearray(tarred({"a": b"1"}, "w:gz"))
    data[-6] ^= 1
    assert unpacked(bytes(data))[1] is Reason.BROKEN_ARCHIVE


def test_nested_archives_are_unpacked_to_the_limit() -> None:
    data = b"core"
    for level in range(5):
        data = zipped({f"{level}.zip" if level else "core.dcm": data})
    found, stopped = unpacked(data, depth=5)
    assert stopped is None
    assert found == {
        "4.zip!/3.zip!/2.zip!/1.zip!/core.dcm": b"core",
        "4.zip!/3.zip!/2.zip!/1.zip": Reason.ARCHIVE_UNPACKED,
        "4.zip!/3.zip!/2.zip": Reason.ARCHIVE_UNPACKED,
        "4.zip!/3.zip": Reason.ARCHIVE_UNPACKED,
        "4.zip": Reason.ARCHIVE_UNPACKED,
    }
    found, stopped = unpacked(data, depth=3)
    assert found["4.zip!/3.zip!/2.zip"] is Reason.ARCHIVE_BOMB
    assert len(found) == 3
    assert stopped is None


def test_a_broken_nested_archive_does_not_cost_its_neighbours() -> None:
    found, stopped = unpacked(tarred({"bad.zip": zipped(FILES)[:-9], "good": b"1"}))
    assert found == {"bad.zip": Reason.BROKEN_ARCHIVE, "good": b"1"}
    assert stopped is None


def test_no_member_passes_for_that_of_a_neighbouring_archive() -> None:
    found, _ = unpacked(tarred({"a.zip": zipped({"m": b"1"}), "a.zip!/m": b"2"}))
    assert found == {"a.zip!/m": b"1", "a.zip": Reason.ARCHIVE_UNPACKED, "a.zip!!/m": b"2"}


@pytest.mark.parametrize(
    "limits",
    [
        {"member_bytes": 1 << 20},
        {"total_bytes": 1 << 20},
        {"ratio": 50.0, "ratio_from_bytes": 1 << 20},
        {"members": 2},
    ],
)
@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz"), lambda files: tarred(files, "w:xz")])
def test_a_bomb_is_stopped(pack, limits: dict[str, float]) -> None:
    found, stopped = unpacked(pack({"a": b"1", "bomb": bytes(8 << 20), "z": b"2"}), **limits)
    assert stopped is Reason.ARCHIVE_BOMB
    assert "z" not in found
    assert found["a"] == b"1"


def test_a_bomb_within_an_archive_stops_the_whole() -> None:
    inner = zipped({"zeros": bytes(8 << 20)})
    found, stopped = unpacked(tarred({"in.zip": inner, "z": b"1"}), total_bytes=1 << 20)
    assert stopped is Reason.ARCHIVE_BOMB
    assert found == {"in.zip!/zeros": Reason.ARCHIVE_BOMB, "in.zip": Reason.ARCHIVE_BOMB}


def test_a_large_member_goes_through_a_file_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPOOL_BYTES", 1 << 20)
    data = os.urandom(3 << 20)
    assert unpacked(zipped({"large": data, "inner.zip": zipped({"large": data})})) == (
        {"large": data, "inner.zip!/large": data, "inner.zip": Reason.ARCHIVE_UNPACKED},
        None,
    )


def test_any_damage_ends_in_a_reason() -> None:
    """Whatever bytes are changed or cut: rows and reasons, never another error."""
    chance = random.Random(7)
    files = {"a": b"1" * 700, "d/b": b"2" * 90, "ü": chance.randbytes(300)}
    originals = [zipped(files), tarred(files), tarred(files, "w:gz"), tarred(files, "w:bz2"), tarred(files, "w:xz")]
    for turn in range(600):
        data = bytearray(originals[turn % len(originals)])
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        if turn % 3 == 0:
            del data[chance.randrange(HEAD_BYTES if len(data) > HEAD_BYTES else 10, len(data)) :]
        if format_of(bytes(data[:HEAD_BYTES]), "x"):
            unpacked(bytes(data), total_bytes=1 << 24)


def test_a_full_disk_is_no_damage_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large members are written while they are read on: what writing raises comes out, and not with the next member."""
    monkeypatch.setattr(archives, "SPOOL_BYTES", 10)

    class Full(io.RawIOBase):
        def write(self, data: Any) -> int:
            if len(data) > 100:
                raise OSError(errno.ENOSPC, "full")
            return len(data)

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

    file = io.BytesIO(tarred({"a": b"x" * (3 << 20), "b": b"y"}))
    with pytest.raises(OSError, match="full"):
        list(unpack(file, Format.TAR, "t.tar", 1 << 30, spool=Full))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Format.TAR, Format.ZIP, Format.GZIP])
def test_large_members_go_through_files(monkeypatch: pytest.MonkeyPatch, kind: Format) -> None:
    """From their first byte where the archive tells their size, else from where they are found to be large."""
    monkeypatch.setattr(archives, "SPOOL_BYTES", 50_000)
    files = {"small": b"1" * 100, "large": os.urandom(3 << 20), "last": b"2"}
    data = zipped(files) if kind is Format.ZIP else tarred(files, "w:gz" if kind is Format.GZIP else "w")
    made: list[Any] = []

    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            time.sleep(0.005)
            return super().write(data)

    def spool() -> Any:
        made.append(io.BufferedRandom(Slow()))  # type: ignore[arg-type]
        return made[-1]

    found = {}
    for member in unpack(io.BytesIO(data), kind, "x", len(data), spool=spool):
        assert member.content is not None
        found[member.path] = member.content.read()
        assert hashlib.sha256(found[member.path]).hexdigest() == member.sha256
    assert found == files
    assert [file.closed for file in made] == [True]


def test_the_size_that_a_zip_states_decides_nothing_but_where_a_member_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPOOL_BYTES", 50_000)
    data = bytearray(zipped({"a": b"1" * 100, "b": b"2"}, compression=zipfile.ZIP_DEFLATED))
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (1 << 30).to_bytes(4, "little")  # size in the central directory
    assert unpacked(bytes(data)) == ({"a": b"1" * 100, "b": b"2"}, None)
