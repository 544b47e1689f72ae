"""Planting in free text: descriptions in six languages, labels, reports, structure names, annotations.

Belongs here: sentences with somebody in them, and the words of radiology that must be left. Does not belong here:
elements that hold nothing but an identifier (`headers`).
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from benchmarks.phi.answers import Action, chain, step
from benchmarks.phi.documents import MEASUREMENTS, content
from benchmarks.phi.headers import renamed
from benchmarks.phi.people import days_written, plain
from benchmarks.phi.site import Site

DESCRIPTIONS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("CT chest with contrast", ("CT", "chest", "contrast"), False),
    ("MR brain without contrast", ("MR", "brain", "without", "contrast"), False),
    ("T2 AX FS", ("T2", "AX", "FS"), False),
    ("CT thorax p.v.", ("CT", "thorax", "p.v"), False),
    ("CT thorax met contrast", ("CT", "thorax", "contrast"), False),
    ("MRI hersenen zonder contrast", ("MRI", "hersenen", "zonder", "contrast"), False),
    ("Echo lever en galblaas", ("Echo", "lever", "galblaas"), False),
    ("Schädel nativ", ("Schädel", "nativ"), True),
    ("MRT Kopf ohne Kontrastmittel", ("MRT", "Kopf", "ohne", "Kontrastmittel"), False),
    ("Röntgen Knie links", ("Röntgen", "Knie", "links"), True),
    ("TAP sans injection", ("TAP", "sans", "injection"), False),
    ("IRM cérébrale avec gadolinium", ("IRM", "cérébrale", "gadolinium"), True),
    ("Scanner thoracique", ("Scanner", "thoracique"), False),
    ("TC tórax con contraste", ("TC", "tórax", "contraste"), True),
    ("RM rodilla derecha", ("RM", "rodilla", "derecha"), False),
    ("Ecografía abdominal", ("Ecografía", "abdominal"), True),
    ("TC torace senza mezzo di contrasto", ("TC", "torace", "senza", "contrasto"), False),
    ("RM encefalo", ("RM", "encefalo"), False),
    ("Mammografia bilaterale", ("Mammografia", "bilaterale"), False),
    ("ep2d_diff_3scan_trace", ("ep2d", "diff", "trace"), False),
    ("t1_mprage_sag_p2_iso", ("t1", "mprage", "sag"), False),
    ("PET WB AC", ("PET", "WB", "AC"), False),
)
"""English, Dutch, German, French, Spanish, Italian, and scanners' own: text, words that must stay, needs accents."""

DESCRIBED = ("StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription")
REMARKS = ("ImageComments", "AdditionalPatientHistory", "CommentsOnThePerformedProcedureStep", "DerivationDescription")
REAL_LABELS = (
    ("StructureSetROISequence", "ROIName", "GTV"),
    ("SegmentSequence", "SegmentDescription", "lesion"),
    ("GraphicLayerSequence", "GraphicLayerDescription", "lung"),
)
"""Where items of real objects are named: sequence, attribute, a word that must stay."""
VOCABULARY_NAMES = ("Brust", "Hals", "Milz", "Becken", "Wirbel")
"""Words of radiology that are somebody's family name here: out of that header's text, and not looked for elsewhere."""


def descriptions(site: Site) -> None:
    """Somebody in each description: the patient in some spelling, or somebody whom no other element names."""
    choices = [d for d in DESCRIPTIONS if site.latin or not d[2]]
    for keyword in DESCRIBED:
        text, kept, _ = site.draw.choice(choices)
        who = site.patient.person if site.draw.random() < 0.5 else site.somebody()
        forms = [s for s in who.spellings() if len(s) + len(text) <= 62] or [who.family]
        spelling = site.draw.choice(forms)
        said = f"{text} {spelling}" if site.draw.random() < 0.5 else f"{spelling} {text}"
        setattr(site.ds, keyword, said)
        absent = tuple({*who.parts, *map(plain, who.parts)})
        site.gone(step(keyword), "free text: description", said, absent)
        site.expect(step(keyword), Action.TEXT_RETAINED, "free text: description", value=text, kept=kept)


def remarks(site: Site) -> None:
    """Sentences with days, telephone numbers, record numbers and addresses."""
    for keyword in REMARKS:
        born, phone, number = site.people.birthday(), site.people.phone(), site.people.number("MRN")
        street, who = site.people.street(), site.somebody()
        day = site.draw.choice(days_written(born))
        said = f"{who.spellings()[0]}, born {day}, tel. {phone}, {street}, record {number}; lung lesion, liver"
        setattr(site.ds, keyword, said)
        absent = (*who.parts, day, phone, phone.replace(" ", ""), street, number)
        site.gone(step(keyword), "free text: sentence", said, absent)
        site.expect(
            step(keyword), Action.TEXT_RETAINED, "free text: sentence", value="lung liver", kept=("lung", "liver")
        )


def namesake(site: Site) -> None:
    """A physician whose name is a word of radiology: out of the text of this header, though it is in the vocabulary."""
    word = site.draw.choice(VOCABULARY_NAMES)
    site.ds.ConsultingPhysicianName = f"{word}^Anna"
    site.ds.AcquisitionDeviceProcessingDescription = f"T2 AX FS {word}"
    path = step("AcquisitionDeviceProcessingDescription")
    site.gone(step("ConsultingPhysicianName"), "a name of the vocabulary", f"{word}^Anna", (word,), everywhere=False)
    site.gone(path, "a name of the vocabulary", f"T2 AX FS {word}", (word,), everywhere=False)
    site.expect(path, Action.TEXT_RETAINED, "a name of the vocabulary", value="T2 AX FS", kept=("T2", "AX", "FS"))


def labels(site: Site) -> None:
    """The text of segmentations, structure sets, dose grids, reports and presentation states."""
    writer = {"SEG": _segmentation, "RTSTRUCT": _structures, "RTDOSE": _dose, "SR": _report, "PR": _presentation}
    if site.draft.made and site.draft.kind in writer:
        writer[site.draft.kind](site)
    elif not site.draft.made:
        for sequence, keyword, word in REAL_LABELS:
            for number, item in enumerate(site.ds.get(sequence, ())):
                _labelled(site, item, keyword, step(sequence, number), word, f"labels of a real {site.draft.kind}")


def _labelled(site: Site, item: object, keyword: str, at: str, word: str, place: str, *, spare: int = 64) -> None:
    """A label of a word that stays and a name that does not."""
    who = site.somebody()
    said = f"{word} {who.family}"[:spare]
    setattr(item, keyword, said)
    path = chain(at, step(keyword))
    site.gone(path, place, said, (who.family,))
    site.expect(path, Action.TEXT_RETAINED, place, value=word, kept=(word,))


def _creator(site: Site) -> None:
    who = site.somebody()
    site.ds.ContentCreatorName = who.pn
    site.gone(step("ContentCreatorName"), f"{site.draft.kind} creator", who.pn, who.parts)


def _segmentation(site: Site) -> None:
    place, segment, at = "SEG labels", site.ds.SegmentSequence[0], step("SegmentSequence", 0)
    _creator(site)
    _labelled(site, segment, "SegmentLabel", at, "lesion", place)
    _labelled(site, segment, "SegmentDescription", at, "lung", place)
    renamed(site, chain(at, step("TrackingUID")), place, str(segment.TrackingUID))
    segment.TrackingID = tracking = site.people.code()
    site.gone(chain(at, step("TrackingID")), place, tracking)


def _structures(site: Site) -> None:
    ds, place = site.ds, "RTSTRUCT names"
    _labelled(site, ds, "StructureSetName", "", "planning", place)
    _labelled(site, ds.StructureSetROISequence[0], "ROIName", step("StructureSetROISequence", 0), "GTV", place)
    _labelled(site, ds.StructureSetROISequence[1], "ROIName", step("StructureSetROISequence", 1), "Heart", place)
    _labelled(site, ds.StructureSetROISequence[0], "ROIDescription", step("StructureSetROISequence", 0), "tumor", place)
    at, who = step("RTROIObservationsSequence", 0), site.somebody()
    ds.RTROIObservationsSequence[0].ROIInterpreter = who.pn
    site.gone(chain(at, step("ROIInterpreter")), place, who.pn, who.parts)
    for number, contour in enumerate(ds.ROIContourSequence[0].ContourSequence):
        path = chain(step("ROIContourSequence", 0), step("ContourSequence", number), step("ContourData"))
        site.stays(path, "RTSTRUCT contours", list(contour.ContourData))


def _dose(site: Site) -> None:
    _labelled(site, site.ds, "DoseComment", "", "dose", "RTDOSE comment")
    for keyword in ("DoseGridScaling", "DoseUnits", "GridFrameOffsetVector"):
        site.stays(step(keyword), "RTDOSE numbers", site.ds[keyword].value)


def _report(site: Site) -> None:
    ds, place, who, observer = site.ds, "SR content", site.somebody(), site.somebody()
    finding = next(item for item in ds.ContentSequence if item.ValueType == "TEXT")
    finding.TextValue = f"lung lesion seen by {who.spellings()[0]}"
    path = chain(step("ContentSequence", "DCM:121071"), step("TextValue"))
    site.gone(path, place, finding.TextValue, who.parts)
    site.expect(path, Action.TEXT_RETAINED, place, value="lung lesion", kept=("lung", "lesion"))
    named = content("PNAME", "121008", "DCM", "Person Observer Name")
    named.PersonName = observer.pn
    site.gone(chain(step("ContentSequence", "DCM:121008"), step("PersonName")), place, observer.pn, observer.parts)
    numbered = content("TEXT", "121022", "DCM", "Accession Number")
    numbered.TextValue = site.people.number("A")
    site.gone(chain(step("ContentSequence", "DCM:121022"), step("TextValue")), place, numbered.TextValue)
    ds.ContentSequence = Items([named, numbered, *ds.ContentSequence])
    tracked = ds.ContentSequence[-1].ContentSequence[0].ContentSequence[0]
    renamed(site, chain(*MEASUREMENTS, step("ContentSequence", "DCM:112040"), step("UID")), place, str(tracked.UID))
    value = (step("ContentSequence", "SCT:118565006"), step("MeasuredValueSequence", 0), step("NumericValue"))
    site.stays(chain(*MEASUREMENTS, *value), "SR measurements", 12.5)
    verifier, verifying = site.somebody(), site.people.street()
    signed = Dataset()
    signed.VerifyingObserverName, signed.VerifyingOrganization = verifier.pn, verifying
    ds.VerifyingObserverSequence = Items([signed])
    at = step("VerifyingObserverSequence", 0)
    site.gone(chain(at, step("VerifyingObserverName")), place, verifier.pn, verifier.parts)
    site.gone(chain(at, step("VerifyingOrganization")), place, verifying)


def _presentation(site: Site) -> None:
    annotation = site.ds.GraphicAnnotationSequence[0]
    at = chain(step("GraphicAnnotationSequence", 0), step("TextObjectSequence", 0))
    _creator(site)
    _labelled(site, annotation.TextObjectSequence[0], "UnformattedTextValue", at, "lesion", "PR graphics")
    _labelled(site, site.ds, "ContentDescription", "", "lung", "PR graphics")
    site.stays(
        chain(step("GraphicAnnotationSequence", 0), step("GraphicObjectSequence", 0), step("GraphicData")),
        "PR graphics",
        list(annotation.GraphicObjectSequence[0].GraphicData),
    )
