"""The quick way through a file: each distinct element is decided about once, and bytes are joined.

Belongs here: cleaning plain little endian images element by element, remembered by their bytes; and proving what was
joined. Does not belong here: any decision (`oncurate.deid.engine`, which this calls for what is new), other files
(`oncurate.deid.files` parses those as a whole).

What becomes of an element depends on its bytes, on the character set and private creator beside it, and on a few facts
of its file: the kind of object, the subject, the sign of the pixels, and whom the header names. Files that agree in
these facts share a `Scene`; what depends on nobody is shared by all scenes of a kind of object. Code attributes and
content trees depend on their neighbours: their files are not taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from oncurate.deid import codes, haystack, marks, pixels, reading, tables, text, written
from oncurate.deid.cleaning import Context
from oncurate.deid.engine import PLAIN, AuditEntry, Place, Walk
from oncurate.deid.haystack import Needles
from oncurate.deid.known import Elements, Known, dataset_of
from oncurate.deid.pixels import PIXEL_DATA, Layout
from oncurate.deid.policy import DeidPolicy, Pixels
from oncurate.deid.proof import Proof
from oncurate.deid.rules import CLEAN, rules_of
from oncurate.deid.scan import File
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason

MOST_PIECES = 1 << 14
"""Distinct written elements to remember of a scene; then it is made anew."""

MOST_SCENES = 8
"""Scenes to remember: a batch holds one patient, and a handful of headers of theirs that differ in whom they name."""

MOST_NEW = 64
"""Identifiers that a file may have beyond those of its scene before the scene's are prepared anew."""

SOP_CLASS, SOP_INSTANCE, CHARACTER_SET = 0x00080016, 0x00080018, 0x00080005
_BURNED_IN, _SIGNED = 0x00280301, 0x00280103
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_NEIGHBOURLY = frozenset(
    {
        *(codes.CODE_VALUE, codes.LONG_CODE_VALUE, codes.URN_CODE_VALUE, codes.SCHEME, codes.MEANING),
        *(0x0040A730, 0x0040DB73),  # content trees
        *(0x00420011, 0x00041220),  # encapsulated documents, directories
        *(0x7FE00001, 0x7FE00002, 0x7FE00008, 0x7FE00009),  # offsets, floating point pixels
    }
)
_SIZES = (0x00280010, 0x00280011, 0x00280002, 0x00280008, 0x00280004)
_BITS = (0x00280100, 0x00280101, 0x00280102, _SIGNED)
_NOTHING = Dataset()
_TEXT_GONE = frozenset({"masked", "masked_defaced", "checked"})


Buffer = bytes | memoryview


class Chunk(NamedTuple):
    """What is written of an element, by tag, and what was done to it."""

    written: dict[int, bytes]
    audit: tuple[AuditEntry, ...]
    is_ascii: bool


class Joined(NamedTuple):
    """A cleaned file and how many identifiers of its source were looked for in it."""

    data: bytes
    audit: tuple[AuditEntry, ...]
    elements: dict[int, bytes]
    sought: int


class Scene:
    """What has been made of elements in files that agree in the facts on which that depends."""

    def __init__(self, walk: Walk, place: Place, fixed: dict[int, bytes], shared: dict[Known, Chunk]) -> None:
        self.walk, self.fixed = walk, fixed
        self._place, self._shared = place, shared
        self.proof = Proof()
        self.needles: Needles | None = None
        self._sought: frozenset[str] = frozenset()
        self._chunks: dict[Known, Chunk] = {}
        for tag, raw in fixed.items():
            self.proof.add_piece(tag, raw)
        sop_class = next(uid for uid, iod in tables.iods().items() if iod == walk.iod)
        self.proof.add_piece("meta", written.meta(sop_class, "", walk.syntax))

    def chunk(self, known: Known) -> Chunk:
        """What is written of an element."""
        found = self._chunks.get(known)
        if found is not None:
            return found
        found = self._shared.get(known) or self._made(known)
        self._chunks[known] = found
        if found.written:
            self.proof.add_piece(known, b"\n".join(found.written.values()))
        return found

    def _made(self, known: Known) -> Chunk:
        source, element, walk = _NOTHING, known.element(), self.walk
        if element is None:
            source = known.dataset()
            element = source.get_item(BaseTag(known.piece.tag))
        out = walk.single(source, element, self._place)
        chunk = Chunk(written.encoded(out, walk.implicit_vr), tuple(walk.audit), walk.ascii)
        if source is _NOTHING and not walk.is_personal:
            self._shared[known] = chunk
        return chunk

    def is_full(self) -> bool:
        """Whether it is time to make it anew."""
        return len(self._chunks) > MOST_PIECES

    def among(self, buffer: Buffer, identifiers: frozenset[str]) -> bool:
        """Whether one of the identifiers is in a buffer."""
        new = identifiers - self._sought
        if self.needles is None or len(new) > MOST_NEW:
            self.needles, self._sought, new = haystack.needles(identifiers), identifiers, frozenset()
        return not identifiers.isdisjoint(self.needles.plus(new).found(buffer))


class Repeated:
    """The quick way for one policy and one secret."""

    def __init__(self, keys: Keys, policy: DeidPolicy) -> None:
        self._keys, self._policy, self._rules = keys, policy, rules_of(policy)
        self._forget()

    def _forget(self) -> None:
        self._elements = Elements(self._policy)
        self._scenes: dict[tuple[object, ...], Scene] = {}
        self._shared: dict[tuple[object, ...], dict[Known, Chunk]] = {}
        self._layouts: dict[tuple[Known | None, ...], Layout] = {}
        self._texts: dict[Known, str] = {}

    def elements(self, file: File) -> dict[int, Known] | None:
        """The elements of a file by tag; None if it is not for the quick way."""
        if self._elements.is_full():
            self._forget()
        found = {known.piece.tag: known for known in self._elements.of(file)}
        if file.pixels is None or not found.keys().isdisjoint(_NEIGHBOURLY):
            return None
        usual = file.implicit or found[PIXEL_DATA].piece.vr in ("OB", "OW")
        usual &= CHARACTER_SET not in found or b"\0" not in found[CHARACTER_SET].piece.value.rstrip(b"\0 ")
        return found if usual and _has_value(found.get(SOP_INSTANCE)) else None

    def clean(self, file: File, found: dict[int, Known], subject: str, done: Pixels) -> Joined | None:
        """The file cleaned and proven; None if it is not for the quick way. Raises IDENTIFIER_SURVIVED."""
        iod = tables.iods().get(self._text(found, SOP_CLASS))
        burned_in = self._policy.clean_pixel_data and done not in _TEXT_GONE
        if iod is None or (burned_in and self._text(found, _BURNED_IN).upper() == "YES"):
            return None
        scene = self._scene(file, found, (iod, subject, done))
        image, note = self._pixels(file, found, iod)
        chunks = [scene.chunk(known) if tag != PIXEL_DATA else Chunk({}, note, True) for tag, known in found.items()]
        elements: dict[int, bytes] = {}
        for chunk in chunks:
            elements.update(chunk.written)
        fixed = dict(scene.fixed)
        if CHARACTER_SET not in found and all(chunk.is_ascii for chunk in chunks):
            del fixed[CHARACTER_SET]
        elements.update(fixed)
        audit = tuple([entry for chunk in chunks for entry in chunk.audit])
        return self._proven(scene, file, found, elements, image, audit)

    def _proven(
        self,
        scene: Scene,
        file: File,
        found: dict[int, Known],
        elements: dict[int, bytes],
        image: Buffer,
        audit: tuple,
    ) -> Joined | None:
        """The elements joined, once nothing is found in them.

        Every byte of the file is looked at for every identifier of its source: preamble and file meta information (but
        for the instance's UID, which is an element, too) and each element once a scene (`oncurate.deid.proof`), the
        pixels each time. The pixel data's tag, VR and length are too few bytes for an identifier.
        """
        sop_class, instance = value_of(elements.get(SOP_CLASS, b"")), value_of(elements.get(SOP_INSTANCE, b""))
        if not sop_class or not instance or max(elements) > PIXEL_DATA:
            return None
        head = written.meta(sop_class, instance, scene.walk.syntax)
        known = [*self._elements.of_meta(file), *found.values()]
        identifiers = frozenset().union(*{one.identifiers for one in known if one.identifiers})
        scene.proof.add_identifiers(identifiers)
        ordered = sorted(elements)
        data = b"".join((head, *(elements[tag] for tag in ordered), *_pixel_element(file.implicit, found, image)))
        in_doubt = not scene.proof.holds((*identifiers, *found.values(), *elements, "meta"))
        if in_doubt and written.verify(data, identifiers):
            raise Rejection(Reason.IDENTIFIER_SURVIVED)
        if scene.among(image, identifiers):
            raise Rejection(Reason.IDENTIFIER_SURVIVED)
        return Joined(data, audit, elements, len(identifiers & scene.proof.searched))

    def _scene(self, file: File, found: dict[int, Known], facts: tuple[str, str, Pixels]) -> Scene:
        iod, subject, done = facts
        named = frozenset().union(*{known.named for known in found.values() if known.named})
        character_set = found.get(CHARACTER_SET)
        key = (file.implicit, character_set, found.get(_SIGNED), named, *facts)
        scene = self._scenes.get(key)
        if scene is None or scene.is_full():
            if len(self._scenes) >= MOST_SCENES:
                self._scenes.pop(next(iter(self._scenes)))
            context = Context(
                keys=self._keys,
                subject=subject,
                harvested=text.identifiers(named),
                shift_dates=self._policy.dates == "modified",
                retain_uids=self._policy.retain_uids,
            )
            walk = Walk(self._rules, context, iod, pixels.IMPLICIT if file.implicit else pixels.EXPLICIT)
            walk.signed_pixels = bool(reading.integer(gathered(found, (_SIGNED,)), _SIGNED))
            place = Place(encodings=reading.encodings_of(gathered(found, (CHARACTER_SET,)), [PLAIN]))
            shared = self._shared.setdefault((iod, character_set, found.get(_SIGNED)), {})
            scene = self._scenes[key] = Scene(walk, place, self._fixed(subject, done, file.implicit), shared)
        return scene

    def _fixed(self, subject: str, done: Pixels, implicit: bool) -> dict[int, bytes]:
        """The elements that are the same whatever the source says: subject, marks, character set."""
        out = Dataset()
        out.set_original_encoding(implicit, True, PLAIN)
        out[PIXEL_DATA] = reading.typed(PIXEL_DATA, "OW", "")
        out[_PATIENT_NAME] = reading.typed(_PATIENT_NAME, "PN", subject)
        out[_PATIENT_ID] = reading.typed(_PATIENT_ID, "LO", subject)
        out[CHARACTER_SET] = reading.typed(CHARACTER_SET, "CS", "ISO_IR 192")
        marks.mark(out, self._policy, done)
        del out[PIXEL_DATA]
        return written.encoded({tag: out.get_item(tag) for tag in out.keys()}, implicit)  # noqa: SIM118

    def _pixels(self, file: File, found: dict[int, Known], iod: str) -> tuple[Buffer, tuple[AuditEntry, ...]]:
        """The pixels cleaned, and what was done to them."""
        key = tuple(found.get(tag) for tag in _SIZES + _BITS)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = pixels.layout(gathered(found, _SIZES + _BITS))
        value = file.pixels or b""
        new = pixels.clean(layout, PIXEL_DATA, value, pixels.EXPLICIT, True)
        if new is value or new == value:
            return new, ()
        return new, (AuditEntry(f"{PIXEL_DATA:08X}", CLEAN, self._rules.decide(PIXEL_DATA, iod, None).rule),)

    def _text(self, found: dict[int, Known], tag: int) -> str:
        """The first component of a text element; "" where there is none."""
        known = found.get(tag)
        if known is None:
            return ""
        value = self._texts.get(known)
        if value is None:
            value = self._texts[known] = reading.first_text(known.dataset(), tag)
        return value


def gathered(found: dict[int, Known], tags: Iterable[int]) -> Dataset:
    """A data set of those of a file's elements that have these tags."""
    held = [found[tag] for tag in tags if tag in found]
    return dataset_of(tuple(known.piece for known in held), held[0].implicit if held else False)


def _has_value(known: Known | None) -> bool:
    return known is not None and known.piece.value.partition(b"\\")[0].strip(b"\0 \t\r\n") != b""


def _pixel_element(implicit: bool, found: dict[int, Known], image: bytes | memoryview) -> tuple[bytes, Buffer]:
    length = len(image).to_bytes(4, "little")
    vr = b"" if implicit else str(found[PIXEL_DATA].piece.vr).encode("ascii") + b"\0\0"
    return b"\xe0\x7f\x10\x00" + vr + length, image


def value_of(element: bytes) -> str:
    """The first component of an encoded UI element, whichever way it is encoded."""
    return element[8:].partition(b"\\")[0].partition(b"\0")[0].strip().decode("latin-1")
