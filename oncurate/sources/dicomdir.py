"""The directory of a DICOM medium (PS3.10 section 8, PS3.3 annex F): which files it lists that are not there.

Belongs here: reading a DICOMDIR, and holding what it lists against the files beside it, whether the medium is a folder,
an archive file or a prefix of a bucket. Does not belong here: listing and taking files, which are read whether a
DICOMDIR lists them or not.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydicom.charset import default_encoding
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial, read_sequence_item
from pydicom.tag import BaseTag
from pydicom.uid import UID

from oncurate import elements
from oncurate.elements import PARSE_ERRORS
from oncurate.errors import Rejection
from oncurate.headers import quiet
from oncurate.part10 import as_plain_stream
from oncurate.reasons import Reason
from oncurate.records import SourceObject
from oncurate.source_paths import clean
from oncurate.store import read_url

MAX_BYTES = 1 << 28
"""A larger DICOMDIR is not read. A directory record takes some 500 bytes: room for half a million files."""

_RECORDS = BaseTag(0x00041220)  # Directory Record Sequence
_UNDEFINED = 0xFFFFFFFF
_NAME = "dicomdir"
_NAME_LENGTH = 16  # with the version of ISO 9660, and room
_VERSION = re.compile(r";\d+$")
_READERS = 8
_READ = frozenset({None, Reason.ARCHIVE_UNPACKED})
_LEVELS = frozenset({"PATIENT", "STUDY", "SERIES", "PRIVATE"})
"""Record types that stand for no object: levels above it, and what a writer keeps for itself (PS3.3 F.5, F.6.1)."""


def is_directory(source_path: str) -> bool:
    """Whether a file is called DICOMDIR, in any case, with or without the version and the dot of ISO 9660."""
    name = source_path[-_NAME_LENGTH:].rpartition("/")[2]
    return _NAME in name.casefold() and _key(name) == _NAME


def missing_objects(objects: Sequence[SourceObject]) -> list[SourceObject]:
    """A row (MISSING_ON_MEDIUM) for each file that a DICOMDIR among `objects` lists and that is none of them.

    `objects` are all rows of a source, in any order; the answer depends on the source alone, and is sorted by path.
    `StoreUnreachable` where the zone in which a DICOMDIR was put cannot be read.
    """
    directories = [item for item in objects if item.url and is_directory(item.source_path)]
    if not directories:
        return []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="dicomdir") as pool:
        listed = [path for found in pool.map(_listed_by, directories) for path in found]
    return [
        SourceObject(source_path=path, url="", bytes=0, version="missing", sha256="", reason=Reason.MISSING_ON_MEDIUM)
        for path in missing(listed, ((item.source_path, item.reason) for item in objects))
    ]


def listed_files(source_path: str, data: bytes) -> list[str]:
    """The source paths of the objects that the DICOMDIR `data` at `source_path` lists; none where it is no directory.

    They are what the paths of these files would be, and lead out of the medium's folder where the directory does.
    """
    quiet()
    folder = source_path[: source_path.rfind("/") + 1]
    try:
        names = [clean("/".join(_file_id(record))) for record in _records(data) if _is_of_object(record)]
    except (*PARSE_ERRORS, InvalidDicomError, Rejection):
        return []
    return [folder + name for name in names if name]


def missing(listed: Iterable[str], files: Iterable[tuple[str, Reason | None]]) -> list[str]:
    """Those of the `listed` source paths that are not among `files` (source path, why it was refused), sorted.

    Names are compared without regard to case and to the version and dot of ISO 9660. What lies in a folder or an
    archive file that was refused is left out: nobody looked whether it is there. Of `files` nothing is kept but what
    stands for a listed path, so that a listing may be long.
    """
    lacking: dict[str, str] = {}
    for path in listed:
        key = _key(path)
        lacking[key] = min(path, lacking.get(key, path))
    above = {folder: frozenset(_above(folder)) for folder in {key.rpartition("/")[0] for key in lacking}}
    outer = frozenset().union(*above.values())
    refused: set[str] = set()
    for path, reason in files if lacking else ():
        key = _key(path)
        lacking.pop(key, None)
        if reason not in _READ and key in outer:
            refused.add(key)
    return sorted(path for key, path in lacking.items() if refused.isdisjoint(above[key.rpartition("/")[0]]))


def _listed_by(item: SourceObject) -> list[str]:
    if item.bytes > MAX_BYTES:
        return []
    try:
        return listed_files(item.source_path, read_url(item.url))
    except FileNotFoundError:
        return []


def _records(data: bytes) -> Iterator[Dataset]:
    """The directory records one by one: as data sets they would take many times the bytes of the file."""
    plain, _ = as_plain_stream(io.BytesIO(data), len(data))
    is_implicit, is_little = read_partial(plain, stop_when=_reaches_records).original_encoding
    order = "<" if is_little else ">"
    group, element, length = struct.unpack(f"{order}HHL", plain.read(8))
    if (group, element) != (_RECORDS.group, _RECORDS.element):
        return
    if not is_implicit:
        (length,) = struct.unpack(f"{order}L", plain.read(4))
    end = None if length == _UNDEFINED else plain.tell() + length
    while end is None or plain.tell() < end:
        record = read_sequence_item(plain, bool(is_implicit), bool(is_little), default_encoding)
        if record is None:
            return
        yield record


def _reaches_records(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's signature
    return tag >= _RECORDS


def _is_of_object(record: Dataset) -> bool:
    """Whether a record says that the medium holds an object (PS3.3 F.3.2.2).

    A record that is not in use is passed over (the flag was retired; PS3.3-2004 has it). Records of patients, studies
    and series, and private ones, may name a file that only their writer knows what to do with: what makes it an object
    is its SOP class, which the standard asks for and which must be the standard's own.
    """
    if elements.integer(record, "RecordInUseFlag") == 0:
        return False
    if elements.text(record, "DirectoryRecordType") not in _LEVELS:
        return True
    sop_class = elements.text(record, "ReferencedSOPClassUIDInFile")
    return bool(sop_class) and not UID(sop_class).is_private


def _file_id(record: Dataset) -> list[str]:
    return [str(part) for part in elements.values(record, "ReferencedFileID")]


def _key(path: str) -> str:
    folder, slash, name = path.casefold().rpartition("/")
    return folder + slash + _VERSION.sub("", name).rstrip(".")


def _above(folder: str) -> Iterator[str]:
    """The keys of a folder and of the folders and archive files that it lies in."""
    while folder:
        yield _key(folder.removesuffix("!"))  # of an archive's INSIDE, or of the mark on a folder's name
        folder = folder.rpartition("/")[0]
