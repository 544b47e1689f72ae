"""Made objects that are no images, or refer to images: SEG, RTSTRUCT, RTDOSE, SR, presentation state, PDF.

Belongs here: their structure and references. Does not belong here: planting.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from benchmarks.phi.answers import chain, step
from benchmarks.phi.made import SIDE, Draft, blank, pixels

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
RTSTRUCT, RTDOSE = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.481.2"
SR, PR, PDF = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.104.1"


def segmentation(uids: Iterator[str], slices: list[Dataset]) -> Draft:
    """A binary segmentation on the slices of a series, with one segment."""
    ds = blank(SEG, next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "SEG", next(uids), slices[0].FrameOfReferenceUID
    ds.ImageType, ds.SegmentationType = ["DERIVED", "PRIMARY"], "BINARY"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "QIICR", "dcmqi", "1.3.0"
    ds.ContentLabel, ds.LossyImageCompression = "SEGMENTATION", "00"
    mask = np.zeros((len(slices), SIDE, SIDE), np.uint8)
    mask[:, 12:30, 10:28] = 1
    pixels(ds, mask)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.PixelData = np.packbits(mask.ravel(), bitorder="little").tobytes()
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Lesion", "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = code("49755003", "SCT", "Morphologically Altered Structure")
    segment.SegmentedPropertyTypeCodeSequence = code("4147007", "SCT", "Mass")
    segment.TrackingID, segment.TrackingUID = "Lesion 1", next(uids)
    ds.SegmentSequence = Items([segment])
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([_copied(slices[0], "PixelSpacing", "SliceThickness")])
    shared.PlaneOrientationSequence = Items([_copied(slices[0], "ImageOrientationPatient")])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames, refers = [], []
    for number, image in enumerate(slices):
        frame, derivation, identification = Dataset(), Dataset(), Dataset()
        derivation.SourceImageSequence = Items([reference(image)])
        derivation.DerivationCodeSequence = code("113076", "DCM", "Segmentation")
        frame.DerivationImageSequence = Items([derivation])
        frame.PlanePositionSequence = Items([_copied(image, "ImagePositionPatient")])
        identification.ReferencedSegmentNumber = 1
        frame.SegmentIdentificationSequence = Items([identification])
        frames.append(frame)
        place = chain(step("PerFrameFunctionalGroupsSequence", number), step("DerivationImageSequence", 0))
        refers.append((chain(place, step("SourceImageSequence", 0), step("ReferencedSOPInstanceUID")), image))
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    series = _series_of(slices)
    ds.ReferencedSeriesSequence = Items([series])
    for number, image in enumerate(slices):
        place = chain(step("ReferencedSeriesSequence", 0), step("ReferencedInstanceSequence", number))
        refers.append((chain(place, step("ReferencedSOPInstanceUID")), image))
    return Draft(ds, "SEG", refers_to=[(path, str(image.SOPInstanceUID)) for path, image in refers])


def structures(uids: Iterator[str], slices: list[Dataset]) -> Draft:
    """A structure set with two regions, a closed contour on every slice."""
    ds = blank(RTSTRUCT, next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "RTSTRUCT", next(uids), slices[0].FrameOfReferenceUID
    ds.StructureSetLabel, ds.ApprovalStatus = "RTSTRUCT", "UNAPPROVED"
    ds.Manufacturer, ds.ManufacturerModelName = "Varian Medical Systems", "ARIA RadOnc"
    frame, study, series = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = (
        "1.2.840.10008.3.1.2.3.1",
        slices[0].StudyInstanceUID,
    )
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    series.ContourImageSequence = Items([reference(image) for image in slices])
    study.RTReferencedSeriesSequence = Items([series])
    frame.RTReferencedStudySequence = Items([study])
    ds.ReferencedFrameOfReferenceSequence = Items([frame])
    names = {1: "GTV", 2: "Heart"}
    ds.StructureSetROISequence = Items([_roi(number, name, frame) for number, name in names.items()])
    ds.ROIContourSequence = Items([_contours(number, slices) for number in names])
    ds.RTROIObservationsSequence = Items([_observation(number) for number in names])
    inside = (
        step("ReferencedFrameOfReferenceSequence", 0),
        step("RTReferencedStudySequence", 0),
        step("RTReferencedSeriesSequence", 0),
    )
    refers = [
        (chain(*inside, step("ContourImageSequence", n), step("ReferencedSOPInstanceUID")), str(image.SOPInstanceUID))
        for n, image in enumerate(slices)
    ]
    for n, image in enumerate(slices):
        contour = chain(step("ROIContourSequence", 0), step("ContourSequence", n), step("ContourImageSequence", 0))
        refers.append((chain(contour, step("ReferencedSOPInstanceUID")), str(image.SOPInstanceUID)))
    return Draft(ds, "RTSTRUCT", refers_to=refers)


def _roi(number: int, name: str, frame: Dataset) -> Dataset:
    roi = Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
    roi.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
    return roi


def _contours(number: int, slices: list[Dataset]) -> Dataset:
    found = []
    for image in slices:
        x, y, z = (float(part) for part in image.ImagePositionPatient)
        contour, size = Dataset(), 6.0 + number
        corners = [(x + 9, y + 9), (x + 9 + size, y + 9), (x + 9 + size, y + 9 + size), (x + 9, y + 9 + size)]
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(corners)
        contour.ContourData = [part for a, b in corners for part in (a, b, z)]
        contour.ContourImageSequence = Items([reference(image)])
        found.append(contour)
    ds = Dataset()
    ds.ReferencedROINumber, ds.ROIDisplayColor, ds.ContourSequence = number, [255, 0, 0], Items(found)
    return ds


def _observation(number: int) -> Dataset:
    ds = Dataset()
    ds.ObservationNumber, ds.ReferencedROINumber, ds.RTROIInterpretedType = number, number, "GTV"
    return ds


def dose(uids: Iterator[str], slices: list[Dataset], structure_set: Dataset) -> Draft:
    """A dose grid on the slices of a series, computed for a structure set."""
    ds = blank(RTDOSE, next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "RTDOSE", next(uids), slices[0].FrameOfReferenceUID
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType, ds.DoseGridScaling = "GY", "PHYSICAL", "PLAN", 0.001
    ds.ImagePositionPatient = list(slices[0].ImagePositionPatient)
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [2.0, 2.0]
    ds.GridFrameOffsetVector, ds.FrameIncrementPointer = [0.0, 3.0, 6.0], 0x3004000C
    ds.Manufacturer = "Varian Medical Systems"
    ds.ReferencedStructureSetSequence = Items([reference(structure_set)])
    pixels(ds, (np.indices((3, 20, 20)).sum(0) * 50).astype(np.uint16))
    path = chain(step("ReferencedStructureSetSequence", 0), step("ReferencedSOPInstanceUID"))
    return Draft(ds, "RTDOSE", refers_to=[(path, str(structure_set.SOPInstanceUID))])


MEASUREMENTS = (step("ContentSequence", "DCM:126010"), step("ContentSequence", "DCM:125007"))
"""Path to the measurement group of a report."""


def report(uids: Iterator[str], image: Dataset, segmentation_of: Dataset) -> Draft:
    """A measurement report (PS3.16 TID 1500): a finding as text, one group with a volume, its segment and its image."""
    ds = blank(SR, next(uids))
    ds.Modality, ds.SeriesInstanceUID = "SR", next(uids)
    ds.ValueType, ds.ContinuityOfContent, ds.CompletionFlag = "CONTAINER", "SEPARATE", "COMPLETE"
    ds.VerificationFlag, ds.Manufacturer = "UNVERIFIED", "QIICR"
    ds.ConceptNameCodeSequence = code("126000", "DCM", "Imaging Measurement Report")
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    ds.ContentTemplateSequence = Items([template])
    series = [Dataset(), Dataset()]
    for held, one in zip(series, (image, segmentation_of), strict=True):
        held.SeriesInstanceUID, held.ReferencedSOPSequence = one.SeriesInstanceUID, Items([reference(one)])
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = image.StudyInstanceUID, Items(series)
    ds.CurrentRequestedProcedureEvidenceSequence = Items([evidence])
    finding = content("TEXT", "121071", "DCM", "Finding")
    finding.TextValue = "Lesion"
    tracked = content("UIDREF", "112040", "DCM", "Tracking Unique Identifier")
    tracked.UID = segmentation_of.SegmentSequence[0].TrackingUID
    group = content("CONTAINER", "125007", "DCM", "Measurement Group")
    group.ContentSequence = Items([tracked, *_measured(image, segmentation_of)])
    all_of_them = content("CONTAINER", "126010", "DCM", "Imaging Measurements")
    all_of_them.ContentSequence = Items([group])
    ds.ContentSequence = Items([finding, all_of_them])
    end = (step("ReferencedSOPSequence", 0), step("ReferencedSOPInstanceUID"))
    evidence_at = step("CurrentRequestedProcedureEvidenceSequence", 0)
    refers = [
        (chain(*MEASUREMENTS, step("ContentSequence", "DCM:121233"), *end), image),
        (chain(*MEASUREMENTS, step("ContentSequence", "DCM:121191"), *end), segmentation_of),
        (chain(evidence_at, step("ReferencedSeriesSequence", 0), *end), image),
        (chain(evidence_at, step("ReferencedSeriesSequence", 1), *end), segmentation_of),
    ]
    return Draft(ds, "SR", refers_to=[(path, str(target.SOPInstanceUID)) for path, target in refers])


def _measured(image: Dataset, segmentation_of: Dataset) -> list[Dataset]:
    value, measured = Dataset(), content("NUM", "118565006", "SCT", "Volume")
    value.NumericValue, value.MeasurementUnitsCodeSequence = 12.5, code("mm3", "UCUM", "cubic millimeter")
    measured.MeasuredValueSequence = Items([value])
    shown = content("IMAGE", "121233", "DCM", "Source image for segmentation")
    shown.ReferencedSOPSequence = Items([reference(image)])
    outlined = content("IMAGE", "121191", "DCM", "Referenced Segment")
    segment = reference(segmentation_of)
    segment.ReferencedSegmentNumber = 1
    outlined.ReferencedSOPSequence = Items([segment])
    return [measured, shown, outlined]


def presentation(uids: Iterator[str], image: Dataset) -> Draft:
    """A greyscale presentation state with a text and an arrow on an image."""
    ds = blank(PR, next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.ContentLabel = "PR", next(uids), "ANNOTATED"
    series = _series_of([image], "ReferencedImageSequence")
    ds.ReferencedSeriesSequence = Items([series])
    layer, text, line, annotation = Dataset(), Dataset(), Dataset(), Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "LAYER1", 1
    ds.GraphicLayerSequence = Items([layer])
    text.UnformattedTextValue, text.AnchorPoint, text.AnchorPointVisibility = "lesion", [10.0, 12.0], "Y"
    text.AnchorPointAnnotationUnits = "PIXEL"
    line.GraphicAnnotationUnits, line.GraphicDimensions, line.NumberOfGraphicPoints = "PIXEL", 2, 2
    line.GraphicData, line.GraphicType, line.GraphicFilled = [10.0, 12.0, 20.0, 22.0], "POLYLINE", "N"
    annotation.GraphicLayer = "LAYER1"
    annotation.TextObjectSequence, annotation.GraphicObjectSequence = Items([text]), Items([line])
    annotation.ReferencedImageSequence = Items([reference(image)])
    ds.GraphicAnnotationSequence = Items([annotation])
    ds.PresentationLUTShape = "IDENTITY"
    uid, end = str(image.SOPInstanceUID), step("ReferencedSOPInstanceUID")
    refers = [
        (chain(step("ReferencedSeriesSequence", 0), step("ReferencedImageSequence", 0), end), uid),
        (chain(step("GraphicAnnotationSequence", 0), step("ReferencedImageSequence", 0), end), uid),
    ]
    return Draft(ds, "PR", refers_to=refers)


def letter(uids: Iterator[str], said: str) -> Draft:
    """An encapsulated PDF, which nothing can clean."""
    ds = blank(PDF, next(uids))
    ds.Modality, ds.SeriesInstanceUID, ds.MIMETypeOfEncapsulatedDocument = "DOC", next(uids), "application/pdf"
    body = f"%PDF-1.4\n({said}) Tj\n%%EOF".encode()
    ds.EncapsulatedDocument = body + b"\0" * (len(body) % 2)
    return Draft(ds, "PDF", leaves="refused")


def code(value: str, scheme: str, meaning: str) -> Items:
    """A code sequence of one item."""
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return Items([ds])


def content(kind: str, value: str, scheme: str, meaning: str) -> Dataset:
    """A content item of a report without its value."""
    ds = Dataset()
    ds.RelationshipType, ds.ValueType = "CONTAINS", kind
    ds.ConceptNameCodeSequence = code(value, scheme, meaning)
    return ds


def reference(image: Dataset) -> Dataset:
    """Class and instance of an object."""
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return ds


def _series_of(slices: list[Dataset], within: str = "ReferencedInstanceSequence") -> Dataset:
    ds = Dataset()
    ds.SeriesInstanceUID = slices[0].SeriesInstanceUID
    setattr(ds, within, Items([reference(image) for image in slices]))
    return ds


def _copied(image: Dataset, *keywords: str) -> Dataset:
    ds = Dataset()
    for keyword in keywords:
        setattr(ds, keyword, image[keyword].value)
    return ds
