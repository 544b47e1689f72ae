"""One view of a header for each frame, classic or enhanced multi-frame.

Belongs here: where an attribute of a frame is found (PS3.3 C.7.6.16: per-frame functional groups, shared ones, the top
level; private elements beside them). Does not belong here: what the values mean (`oncurate.frames`, `oncurate.scaling`,
`oncurate.diffusion`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset

from oncurate import elements
from oncurate.elements import PrivateTag, Scalar
from oncurate.errors import Rejection
from oncurate.reasons import Reason

_FUNCTIONAL_GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ImagePositionPatient": (("PlanePositionSequence", "ImagePositionPatient"),),
    "ImageOrientationPatient": (("PlaneOrientationSequence", "ImageOrientationPatient"),),
    "PixelSpacing": (("PixelMeasuresSequence", "PixelSpacing"),),
    "SliceThickness": (("PixelMeasuresSequence", "SliceThickness"),),
    "SpacingBetweenSlices": (("PixelMeasuresSequence", "SpacingBetweenSlices"),),
    "RescaleSlope": (("PixelValueTransformationSequence", "RescaleSlope"),),
    "RescaleIntercept": (("PixelValueTransformationSequence", "RescaleIntercept"),),
    "RescaleType": (("PixelValueTransformationSequence", "RescaleType"),),
    "ImageType": (
        ("CTImageFrameTypeSequence", "FrameType"),
        ("MRImageFrameTypeSequence", "FrameType"),
        ("PETFrameTypeSequence", "FrameType"),
        ("XRay3DFrameTypeSequence", "FrameType"),
    ),
    "ComplexImageComponent": (("MRImageFrameTypeSequence", "ComplexImageComponent"),),
    "EchoTime": (("MREchoSequence", "EffectiveEchoTime"),),
    "RepetitionTime": (("MRTimingAndRelatedParametersSequence", "RepetitionTime"),),
    "FlipAngle": (("MRTimingAndRelatedParametersSequence", "FlipAngle"),),
    "EchoTrainLength": (("MRTimingAndRelatedParametersSequence", "EchoTrainLength"),),
    "InversionTime": (("MRModifierSequence", "InversionTimes"),),
    "NumberOfAverages": (("MRAveragesSequence", "NumberOfAverages"),),
    "DiffusionBValue": (("MRDiffusionSequence", "DiffusionBValue"),),
    "DiffusionDirectionality": (("MRDiffusionSequence", "DiffusionDirectionality"),),
    "DiffusionGradientOrientation": (
        ("MRDiffusionSequence", "DiffusionGradientDirectionSequence", "DiffusionGradientOrientation"),
    ),
    "KVP": (("CTXRayDetailsSequence", "KVP"),),
    "ConvolutionKernel": (("CTReconstructionSequence", "ConvolutionKernel"),),
    "ReconstructionDiameter": (("CTReconstructionSequence", "ReconstructionDiameter"),),
    "XRayTubeCurrent": (("CTExposureSequence", "XRayTubeCurrentInmA"),),
    "ExposureTime": (("CTExposureSequence", "ExposureTimeInms"),),
    "Exposure": (("CTExposureSequence", "ExposureInmAs"),),
    "TemporalPositionIdentifier": (("FrameContentSequence", "TemporalPositionIndex"),),
    "AcquisitionNumber": (("FrameContentSequence", "FrameAcquisitionNumber"),),
    "StackID": (("FrameContentSequence", "StackID"),),
    "TriggerTime": (("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),),
    "ImageLaterality": (("FrameAnatomySequence", "FrameLaterality"),),
}
for _pair in ("XX", "XY", "XZ", "YY", "YZ", "ZZ"):
    _FUNCTIONAL_GROUPS[f"DiffusionBValue{_pair}"] = (
        ("MRDiffusionSequence", "DiffusionBMatrixSequence", f"DiffusionBValue{_pair}"),
    )
_CONVERTED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
_PHILIPS_GROUPS = (
    PrivateTag(0x2005, "Philips MR Imaging DD 005", 0x0F, "SQ", "PHILIPS"),  # of one frame
    PrivateTag(0x2005, "Philips MR Imaging DD 005", 0x0E, "SQ", "PHILIPS"),  # shared
)
"""Private sequences in which an enhanced Philips file keeps what its classic form has at the top level."""


class Header:
    """A parsed header and, for enhanced multi-frame, the functional groups of one of its frames."""

    def __init__(self, ds: Dataset, groups: tuple[Dataset, ...] = ()) -> None:
        self.ds = ds
        self.groups = groups
        self._present = frozenset(map(int, ds.keys()))
        self._private_groups = frozenset(tag >> 16 for tag in self._present if tag >> 16 & 1)
        self._manufacturer: str | None = None

    def values(self, keyword: str) -> list[Scalar]:
        """Values of `keyword` for this frame: per-frame group, shared group, then the top level."""
        if self.groups:
            found = self._from_groups(keyword)
            if found:
                return found
        tag = elements.tag_of(keyword)
        return elements.values_at(self.ds, tag) if tag in self._present else []

    @property
    def manufacturer(self) -> str:
        """Manufacturer in capitals."""
        if self._manufacturer is None:
            self._manufacturer = elements.text(self.ds, "Manufacturer").upper()
        return self._manufacturer

    def private(self, wanted: PrivateTag) -> list[Scalar]:
        """Values of a private element for this frame; without a creator only where Manufacturer vouches for it."""
        for ds, orphan in self._private_homes(wanted):
            found = elements.private_values(ds, wanted, orphan=orphan)
            if found:
                return found
        return []

    def private_numbers(self, wanted: PrivateTag, length: int) -> list[float]:
        """Exactly `length` finite numbers of a private element; empty if they are anything else."""
        try:
            numbers = [float(value) for value in self.private(wanted)]
        except ValueError:
            return []
        return numbers if len(numbers) == length and all(map(math.isfinite, numbers)) else []

    def private_bytes(self, wanted: PrivateTag) -> bytes:
        """The raw bytes of a private element; empty if there are none."""
        homes = self._private_homes(wanted)
        return next((raw for ds, orphan in homes if (raw := elements.private_bytes(ds, wanted, orphan=orphan))), b"")

    def _private_homes(self, wanted: PrivateTag) -> Iterator[tuple[Dataset, bool]]:
        """The data sets that may hold it, most specific first, and whether it may lack its creator there."""
        for group in self.groups:
            for sequence in _PHILIPS_GROUPS:
                yield from ((item, False) for item in elements.private_items(group, sequence)[:1])
            for keyword in _CONVERTED:
                yield from ((item, False) for item in elements.items(group, keyword)[:1])
            yield group, False
        if wanted.group in self._private_groups:
            yield self.ds, self.manufacturer.startswith(wanted.vendor)

    def vendor_values(self, keyword: str) -> list[Scalar]:
        """Values of a standard keyword in the private sequences of an enhanced Philips frame."""
        items = (
            item for group in self.groups for s in _PHILIPS_GROUPS for item in elements.private_items(group, s)[:1]
        )
        return next((found for item in items if (found := elements.values(item, keyword))), [])

    def items(self, keyword: str) -> list[Dataset]:
        """The items of a sequence of a functional group or of the top level, the most specific that has any."""
        homes = (*self.groups, self.ds) if elements.tag_of(keyword) in self._present or self.groups else ()
        return next((found for ds in homes if (found := elements.items(ds, keyword))), [])

    def _from_groups(self, keyword: str) -> list[Scalar]:
        for group in self.groups:
            for path in _FUNCTIONAL_GROUPS.get(keyword, ()):
                item: Dataset | None = group
                for sequence in path[:-1]:
                    item = elements.first_item(item, sequence)
                found = elements.values(item, path[-1]) if item is not None else []
                if found:
                    return found
            for sequence in _CONVERTED:
                item = elements.first_item(group, sequence)
                found = elements.values(item, keyword) if item is not None else []
                if found:
                    return found
        return []

    def numbers(self, keyword: str) -> list[float]:
        """The values as numbers; empty if one of them is not a number."""
        try:
            return [float(value) for value in self.values(keyword)]
        except ValueError:
            return []

    def number(self, keyword: str) -> float | None:
        """The first value as a number."""
        found = self.numbers(keyword)
        return found[0] if found else None

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        """Exactly `length` finite numbers; None if absent; refused if present and anything else."""
        found = self.values(keyword)
        if not found:
            return None
        numbers = self.numbers(keyword)
        if len(numbers) != length or not all(map(math.isfinite, numbers)):
            raise Rejection(Reason.IMPLAUSIBLE_HEADER, keyword)
        return tuple(numbers)


def headers_of(ds: Dataset, count: int) -> list[Header]:
    """One view of the header for each frame; without functional groups all frames share one."""
    per_frame = elements.items(ds, "PerFrameFunctionalGroupsSequence")
    shared = elements.items(ds, "SharedFunctionalGroupsSequence")[:1]
    if not per_frame and not shared:
        return [Header(ds)] * count
    if len(per_frame) not in (0, count):
        raise Rejection(Reason.IMPLAUSIBLE_HEADER, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return [Header(ds, tuple(shared))] * count
    return [Header(ds, (item, *shared)) for item in per_frame]
