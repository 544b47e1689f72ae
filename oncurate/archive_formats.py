"""The formats of archive files: how each is recognised, and its members as streams, in the order of the archive.

Belongs here: zip, tar and single compressed files, and what the errors of their readers mean. Does not belong here:
limits, nesting and where bytes go (`oncurate.archives`).
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from oncurate.errors import Rejection
from oncurate.forward import Forward
from oncurate.passing import Bytes, put
from oncurate.reasons import Reason

HEAD_BYTES = 512
"""Enough of a file to recognise every format here: a tar header is one block of 512 bytes."""

_BUFFER_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    isal_zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    NotImplementedError,  # zipfile: patched data, a version of the format that it does not know
    ValueError,  # undecodable names, negative offsets
    OverflowError,
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK00PK\x03\x04")  # the last: written to be split, and then was not
_UNSUPPORTED = (
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x1f\x9d",  # compress
    b"PK\x07\x08",  # the first of several files that are one zip
    b"LZIP\x01",
    b"\x04\x22\x4d\x18",  # LZ4
    b"MSCF\x00\x00\x00\x00",  # cabinet
)
_UNSUPPORTED_NAME = re.compile(r"\.(iso|dmg|nrg|mdf|lzma|z\d\d|7z\.\d{3}|zip\.\d{3})$", re.IGNORECASE)
"""Images of discs, and what has no mark of its own at its start: parts of split archives, LZMA alone."""
_UNZIPPED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


class Format(StrEnum):
    """A format of archive files."""

    ZIP = "zip"
    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    UNSUPPORTED = "unsupported"


def _zstd(file: BinaryIO) -> BinaryIO:
    from backports import zstd  # a megabyte that hardly any archive needs

    class Reader(zstd.ZstdFile):
        def read(self, size: int | None = -1) -> bytes:
            try:
                return super().read(size)
            except zstd.ZstdError:
                raise EOFError("damaged Zstandard data") from None

    return Reader(file)


_COMPRESSED: dict[Format, Callable[[BinaryIO], BinaryIO]] = {
    Format.GZIP: lambda file: igzip.IGzipFile(fileobj=file, mode="rb"),
    Format.BZIP2: bz2.BZ2File,
    Format.XZ: lzma.LZMAFile,
    Format.ZSTD: _zstd,
}


@dataclass(frozen=True)
class RawMember:
    """One entry of an archive that is not a folder: its name as it stands there, and how to open it.

    `bytes` is what the archive says of its size, which may be a lie; 0 where it says nothing. `reason` says why it must
    not be opened. `sequential` means that damage in it makes the rest unreadable, too.
    """

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    bytes: int = 0
    reason: Reason | None = None
    sequential: bool = False


def format_of(head: bytes, name: str) -> Format | None:
    """The archive format of a file by its first `HEAD_BYTES`; None for DICOM and everything else.

    The name decides two things: NIfTI files are compressed volumes, not archives of files; and images of discs and
    parts of archives are archives, whatever their first bytes are.
    """
    if head[128:132] == b"DICM":
        return None
    if head.startswith(_ZIP):
        return Format.ZIP
    if head.startswith(b"\x1f\x8b\x08"):
        return None if name.lower().endswith(".nii.gz") else Format.GZIP
    if re.match(rb"BZh[1-9]\x31\x41\x59\x26\x53\x59", head):
        return Format.BZIP2
    if head.startswith(b"\xfd7zXZ\x00"):
        return Format.XZ
    if re.match(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", head):  # the second: a frame that is skipped
        return Format.ZSTD
    if head.startswith(_UNSUPPORTED):
        return Format.UNSUPPORTED
    if _is_tar_header(head):
        return Format.TAR
    return Format.UNSUPPORTED if head and _UNSUPPORTED_NAME.search(name) else None


def raw_members(file: BinaryIO, kind: Format, name: str) -> Iterator[RawMember]:
    """The entries of the archive in `file`, folders left out. Raises the reader's own errors; see `is_damage`.

    A zip needs a file that can be read anywhere; everything else is read forward, once.
    """
    if kind is Format.ZIP:
        yield from _zip_members(file)
    elif kind is Format.TAR:
        yield from _tar_members(forward(file))
    elif kind is Format.UNSUPPORTED:
        raise Rejection(Reason.UNSUPPORTED_ARCHIVE)
    else:
        stream = Forward(_COMPRESSED[kind](cast(BinaryIO, forward(file))).read)
        if _is_tar_header(stream.peek(HEAD_BYTES)):
            yield from _tar_members(stream)
        else:
            inner = re.sub(r"\.(gz|bz2|xz|zst)$", "", name.rpartition("/")[2], flags=re.IGNORECASE)
            yield RawMember(inner, lambda: closing(stream), sequential=True)


def forward(file: BinaryIO | Forward) -> Forward:
    """`file` to be read forward from where it is."""
    return file if isinstance(file, Forward) else Forward(file.read)


def is_damage(error: BaseException) -> bool:
    """Whether a reader's error means a damaged archive, not a fault of ours or of a disk."""
    if isinstance(error, OSError):
        return error.errno is None  # bz2 and gzip report bad data so; a disk's errors have a number
    return isinstance(error, _DAMAGE)


READ_ERRORS = (*_DAMAGE, OSError)
"""What reading a member may raise; `is_damage` tells what it means."""


def _zip_members(file: BinaryIO) -> Iterator[RawMember]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/"):  # ZipInfo.is_dir fails on an empty name
                continue
            reason = None
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                reason = Reason.UNSAFE_MEMBER
            elif info.flag_bits & 0x1:
                reason = Reason.ENCRYPTED_MEMBER
            elif info.compress_type not in _UNZIPPED:  # Windows packs files from 2 GB on by Deflate64
                reason = Reason.UNSUPPORTED_ARCHIVE
            yield RawMember(info.filename, lambda info=info: archive.open(info), info.file_size, reason)


class _Header(tarfile.TarInfo):
    """A tar header that is damaged ends the archive with an error: tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError:
            raise tarfile.ReadError("damaged header") from None


def _tar_members(stream: Forward) -> Iterator[RawMember]:
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:", tarinfo=_Header) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps a record of every member it has seen
            if info.isdir():
                continue
            reason = None if info.isreg() else Reason.UNSAFE_MEMBER
            content = partial(_tar_content, archive, info, stream)
            yield RawMember(info.name, content, info.size, reason, sequential=True)
        while block := stream.read(_BUFFER_BYTES):
            if block.strip(b"\x00"):
                raise tarfile.ReadError("content behind the end of the archive")


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo, stream: Forward) -> BinaryIO:
    """A member as it passes; one with holes, which must be put together, by tarfile's own reader."""
    if info.issparse():
        return cast(BinaryIO, archive.extractfile(info))
    return cast(BinaryIO, _Passing(stream, info.offset_data, info.size))


class _Passing(io.RawIOBase):
    """The next `size` bytes of a stream from `start` on. Cut short, it raises `tarfile.ReadError`."""

    def __init__(self, stream: Forward, start: int, size: int) -> None:
        stream.seek(start)
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def some(self, count: int) -> Bytes:
        """The next bytes, up to `count`, which hold until the next call; none at the end."""
        if not self._left:
            return b""
        piece = self._stream.some(min(count, self._left))
        if not piece:
            raise tarfile.ReadError("unexpected end of data")
        self._left -= len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        return put(self.some(len(buffer)), buffer)


def _is_tar_header(head: bytes) -> bool:
    if len(head) < HEAD_BYTES or not head[0]:
        return False
    try:
        tarfile.TarInfo.frombuf(head[:HEAD_BYTES], tarfile.ENCODING, "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True
