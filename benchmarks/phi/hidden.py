"""Planting where no viewer shows it: file meta, preamble, UN, behind a NUL, private blocks, curves, overlays, icons,
paddings, unused bits, segments of compressed frames.

Belongs here: those places. Does not belong here: elements that a viewer lists (`headers`, `wording`).
"""

from __future__ import annotations

import io
import struct

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from benchmarks.phi.answers import Action, chain, private, step
from benchmarks.phi.headers import renamed
from benchmarks.phi.people import days_written
from benchmarks.phi.site import Site, raw

PREAMBLE_BYTES = 128
SAFE = "Philips Imaging DD 001"
BEYOND = "pixels beyond the stored bits"
"""Path of what stands in bits that are no pixels."""


def envelope(site: Site) -> None:
    """Preamble and file meta."""
    meta, name = site.ds.file_meta, site.people.name()
    site.ds.preamble = name.encode().ljust(PREAMBLE_BYTES, b"\0")
    site.key.forbid((name,), "preamble")
    meta.SourceApplicationEntityTitle, meta.ImplementationVersionName = site.people.title(), site.people.title()
    meta.PrivateInformationCreatorUID, secret = site.people.uid(), site.people.name()
    meta.PrivateInformation = secret.encode() + b"\0" * (len(secret) % 2)
    for keyword in ("SourceApplicationEntityTitle", "ImplementationVersionName", "PrivateInformationCreatorUID"):
        site.gone(chain("meta", step(keyword)), "file meta", str(meta[keyword].value))
    site.gone(chain("meta", step("PrivateInformation")), "file meta", secret)


def unknown(site: Site) -> None:
    """Elements of VR UN: text, a sequence that a reader may parse, an element of no dictionary."""
    if site.ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian:
        return  # has no VR to get wrong
    for tag in (0x00400243, 0x00401002, 0x00129999):
        name = site.people.name()
        raw(site.ds, tag, "UN", name.encode())
        site.gone(f"{tag:08X}", "UN", name)
    item, holder, person, uid = Dataset(), Dataset(), site.people.person(), site.people.uid()
    item.PersonName, item.ReferencedSOPInstanceUID = person.pn, uid
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    holder.SourceImageSequence = Items([item])
    stream = io.BytesIO()
    holder.save_as(stream, implicit_vr=True, little_endian=True)
    raw(site.ds, 0x00082112, "UN", stream.getvalue()[8:])
    at = step("SourceImageSequence", 0)
    site.gone(chain(at, step("PersonName")), "UN that is a sequence", person.pn, person.parts)
    if site.ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        site.key.forbid((uid,), "UN that is a sequence")  # what it holds is little endian, which readers overlook
    else:
        renamed(site, chain(at, step("ReferencedSOPInstanceUID")), "UN that is a sequence", uid)


def behind_nul(site: Site) -> None:
    """Text behind a NUL, where most readers stop."""
    for keyword, tag, vr, value in (
        ("PatientPosition", 0x00185100, "CS", "HFS"),
        ("SoftwareVersions", 0x00181020, "LO", "1.3.0"),
        ("ExposureTime", 0x00181150, "IS", "500"),
    ):
        name = site.people.name()
        raw(site.ds, tag, vr, f"{value}\0{name}".encode())
        site.gone(step(keyword), "behind a NUL", f"{value} {name}", (name,))
        site.expect(step(keyword), Action.TEXT_RETAINED, "behind a NUL", value=value, kept=(value,))


def private_blocks(site: Site) -> None:
    """Private elements: of an unknown creator, of none, of a safe one; and those that must stay for right numbers."""
    ds, people = site.ds, site.people
    block = ds.private_block(0x0009, "MADE VENDOR 01", create=True)
    _private(site, block, 0x01, "LO", people.name(), "private, unknown creator")
    _private(site, block, 0x02, "PN", site.somebody().pn.replace("^", ""), "private, unknown creator")
    _private(site, block, 0x03, "UI", people.uid(), "private, unknown creator")
    _private(site, block, 0x04, "OB", people.name(), "private, unknown creator")
    _private(site, block, 0x05, "UN", people.name(), "private, unknown creator")
    item, person = Dataset(), people.person()
    item.PatientName = person.pn
    block.add_new(0x06, "SQ", Items([item]))
    site.key.forbid(person.parts, "private sequence")
    orphan, creator = people.name(), people.name()
    raw(ds, 0x00171001, "LO", orphan.encode())
    site.gone("00171001", "private, no creator", orphan)
    raw(ds, 0x00350010, "LO", creator.encode())
    raw(ds, 0x00351001, "LO", b"1")
    site.gone("00350010", "name of a private creator", creator)
    safe = ds.private_block(0x2001, SAFE, create=True)
    _private(site, safe, 0x99, "LO", people.name(), "safe creator, other element")
    _private(site, safe, 0x0B, "LO", people.name(), "safe element, other VR")
    _private(site, safe, 0x6E, "SH", people.name(), "safe element, text")
    _private(site, safe, 0x0C, "CS", people.name().upper(), "safe element, text")
    safe.add_new(0x03, "FL", 800.0)
    site.stays(private(0x2001, 0x03, SAFE), "private numbers", 800.0)
    parameters = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
    parameters.add_new(0x39, "IS", ["1000", "8", "0", "0"])
    site.stays(private(0x0043, 0x39, "GEMS_PARM_01"), "private numbers", ["1000", "8", "0", "0"])
    for group, number, creator in (
        (0x7053, 0x00, "Philips PET Private Group"),
        (0x7053, 0x09, "Philips PET Private Group"),
        (0x2005, 0x0E, "Philips MR Imaging DD 001"),
    ):
        if creator in ds.private_creators(group) and number in ds.private_block(group, creator):
            site.stays(
                private(group, number, creator), "private numbers", ds.private_block(group, creator)[number].value
            )
    _scan_time(site)


def _private(site: Site, block: object, number: int, vr: str, value: str, place: str) -> None:
    held: object = value.encode() + b"\0" * (len(value) % 2) if vr in ("OB", "UN") else value
    block.add_new(number, vr, held)  # type: ignore[attr-defined]
    path = private(block.group, number, block.private_creator)  # type: ignore[attr-defined]
    site.gone(path, place, value)


def _scan_time(site: Site) -> None:
    """GE's own start of a PET scan: a day, to be moved as all others."""
    written = site.study.day.strftime("%Y%m%d") + "101200.00"
    site.ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", written)
    site.expect(private(0x0009, 0x0D, "GEMS_PETD_01"), Action.DATE_SHIFTED, "private numbers", value=written)


def graphics(site: Site) -> None:
    """Curves, overlays with text drawn and written, icons, signatures, trailing padding."""
    ds, people = site.ds, site.people
    for tag, vr, place in (
        (0x50002500, "LO", "curve label"),
        (0x50003000, "OW", "curve data"),
        (0x60000022, "LO", "overlay text"),
        (0x60001500, "LO", "overlay text"),
        (0x60004000, "LT", "overlay text"),
        (0x60003000, "OW", "overlay data"),
        (0x60023000, "OW", "overlay data"),
        (0xFFFCFFFC, "OB", "trailing padding"),
    ):
        name = people.name()
        raw(ds, tag, vr, name.encode())
        site.gone(f"{tag:08X}", place, name)
    icon, signature, person, bits = Dataset(), Dataset(), people.person(), people.name()
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.Rows, icon.Columns = 1, "MONOCHROME2", 4, 4
    icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelRepresentation = 8, 8, 7, 0
    icon.PatientName = person.pn
    raw(icon, 0x7FE00010, "OB", bits.encode().ljust(16, b"\0"))
    ds.IconImageSequence = Items([icon])
    site.gone(chain(step("IconImageSequence", 0), step("PatientName")), "icon", person.pn, person.parts)
    site.gone(chain(step("IconImageSequence", 0), step("PixelData")), "icon", bits)
    certificate = people.name()
    signature.MACIDNumber, signature.DigitalSignatureUID = 1, people.uid()
    signature.CertificateOfSigner = certificate.encode() + b"\0" * (len(certificate) % 2)
    ds.DigitalSignaturesSequence = Items([signature])
    at = step("DigitalSignaturesSequence", 0)
    site.gone(chain(at, step("CertificateOfSigner")), "signature", certificate)
    site.gone(chain(at, step("DigitalSignatureUID")), "signature", signature.DigitalSignatureUID)


def around_pixels(site: Site) -> None:
    """Bits above the stored ones, bytes behind the last pixel, comments and application segments of frames."""
    ds, kind = site.ds, site.draft.kind
    name = site.people.name()
    if "PixelData" not in ds:
        return
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in _SEGMENTS:
        behind = days_written(site.people.birthday())[0]
        frames = [
            _SEGMENTS[syntax](frame.rstrip(b"\0"), name.encode()) + behind.encode()
            for frame in generate_frames(ds.PixelData, number_of_frames=1)
        ]
        site.key.forbid((behind,), "behind the end of a compressed frame")
        ds.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])
        ds["PixelData"].is_undefined_length = True
        site.key.forbid((name,), "segments of a compressed frame")
    elif kind == "CR" and ds.BitsStored == 12:
        values = np.frombuffer(ds.PixelData, np.uint16).copy()
        nibbles = [n for byte in name.encode() for n in (byte >> 4, byte & 15)]
        values[: len(nibbles)] |= np.array(nibbles, np.uint16) << 12
        ds.PixelData = values.tobytes()
        site.gone(BEYOND, "bits above BitsStored", name, everywhere=False)
    elif kind == "RTDOSE":
        ds.PixelData += name.encode() + b"\0" * (len(name) % 2)
        site.key.forbid((name,), "bytes behind the last pixel")


def _jpeg(frame: bytes, said: bytes) -> bytes:
    """Comment and application segments behind the start of a JPEG or JPEG-LS frame."""
    segments = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in ((0xFE, said), (0xE1, b"Exif\0\0" + said), (0xED, b"Photoshop 3.0\0" + said))
    )
    return frame[:2] + segments + frame[2:]


def _jpeg2000(frame: bytes, said: bytes) -> bytes:
    """A comment behind the image size of a JPEG 2000 code stream."""
    (length,) = struct.unpack_from(">H", frame, 4)
    at = 4 + length
    comment = struct.pack(">HHH", 0xFF64, len(said) + 4, 1) + said
    return frame[:at] + comment + frame[at:]


_SEGMENTS = {
    "1.2.840.10008.1.2.4.50": _jpeg,
    "1.2.840.10008.1.2.4.80": _jpeg,
    "1.2.840.10008.1.2.4.90": _jpeg2000,
}
