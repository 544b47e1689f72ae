"""One DICOM object, de-identified: the one function that a stage calls.

Belongs here: which objects are taken, and the order of the steps. Does not belong here: the steps.
"""

from __future__ import annotations

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset, FileMetaDataset

from oncurate.deid import marks, own, pixels, reading, tables, text
from oncurate.deid.cleaning import Context
from oncurate.deid.engine import AuditEntry, Walk
from oncurate.deid.policy import DeidPolicy, Pixels
from oncurate.deid.rules import rules_of
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_SOP_CLASS, _SOP_INSTANCE, _BURNED_IN = 0x00080016, 0x00080018, 0x00280301
_UNCLEANABLE = {
    "encapsulated-pdf": "EncapsulatedDocument",
    "encapsulated-cda": "EncapsulatedDocument",
    "encapsulated-stl": "EncapsulatedDocument",
    "encapsulated-obj": "EncapsulatedDocument",
    "encapsulated-mtl": "EncapsulatedDocument",
    "basic-voice-audio-waveform": "WaveformData",
}
"""IODs whose content the engine cannot read, and the attribute that holds it."""


def clean_object(
    ds: Dataset, keys: Keys, policy: DeidPolicy, subject: str, *, pixels: Pixels = "kept"
) -> tuple[Dataset, tuple[AuditEntry, ...]]:
    """The de-identified object and what was done to each element that did not stay as it was.

    `ds` is left as it is, but for values that pydicom converts when they are looked at. `subject` is the subject's
    keyed name (`Keys.subject_id`): it becomes PatientID and PatientName and keys the date shift. `pixels` says what
    the caller did with the pixels of `ds`. Raises `Rejection`: UNKNOWN_SOP_CLASS, UNSUPPORTED_KIND, DICOMDIR,
    UNSUPPORTED_SYNTAX, BURNED_IN_ANNOTATION, MISSING_IDENTITY, BROKEN_HEADER, and what damaged pixel data gives.
    """
    iod = _accepted(ds)
    syntax = _syntax_of(ds)
    if policy.clean_pixel_data and pixels not in ("masked", "masked_defaced", "checked"):
        _refuse_burned_in(ds)
    decisions = rules_of(policy)
    context = Context(
        keys=keys,
        subject=subject,
        harvested=text.identifiers(own.harvest(ds, decisions)),
        shift_dates=policy.dates == "modified",
        retain_uids=policy.retain_uids,
    )
    walk = Walk(decisions, context, iod, syntax)
    out = walk.root(ds)
    if not (reading.first_text(out, _SOP_CLASS) and reading.first_text(out, _SOP_INSTANCE)):
        raise Rejection(Reason.BROKEN_HEADER, "SOPClassUID, SOPInstanceUID")
    for tag in (0x00100010, 0x00100020):
        out[tag] = reading.typed(tag, "PN" if tag == 0x00100010 else "LO", subject)
    marks.mark(out, policy, pixels)
    _envelope(ds, out, syntax, walk.ascii)
    return out, tuple(walk.audit)


def _accepted(ds: Dataset) -> str:
    """The IOD of an object that the engine takes."""
    sop_class = reading.first_text(ds, _SOP_CLASS)
    if sop_class == _MEDIA_DIRECTORY or "DirectoryRecordSequence" in ds:
        raise Rejection(Reason.DICOMDIR)
    if not reading.first_text(ds, _SOP_INSTANCE):
        raise Rejection(Reason.MISSING_IDENTITY, "SOPInstanceUID")
    iod = tables.iods().get(sop_class)
    if iod is None:
        raise Rejection(Reason.UNKNOWN_SOP_CLASS)
    if iod in _UNCLEANABLE or "EncapsulatedDocument" in ds:
        raise Rejection(Reason.UNSUPPORTED_KIND, _UNCLEANABLE.get(iod, "EncapsulatedDocument"))
    return iod


def _syntax_of(ds: Dataset) -> str:
    meta = getattr(ds, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if not named:
        implicit, little = ds.original_encoding
        named = pixels.IMPLICIT if implicit else pixels.BIG_ENDIAN if little is False else pixels.EXPLICIT
    if not pixels.is_known(named):
        raise Rejection(Reason.UNSUPPORTED_SYNTAX, "TransferSyntaxUID")
    return named


def _refuse_burned_in(ds: Dataset) -> None:
    if "PixelData" in ds and reading.first_text(ds, _BURNED_IN).upper() == "YES":
        raise Rejection(Reason.BURNED_IN_ANNOTATION)


def _envelope(ds: Dataset, out: Dataset, syntax: str, plain: bool) -> None:
    """Character set and transfer syntax of the new object."""
    if not plain or "SpecificCharacterSet" in ds:
        out[0x00080005] = reading.typed(0x00080005, "CS", "ISO_IR 192")
        out.set_original_encoding(*out.original_encoding, convert_encodings("ISO_IR 192"))
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = pixels.written_syntax(syntax)
