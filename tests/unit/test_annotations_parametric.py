"""Parametric maps come out as float volumes in a unit, on the grid that their frames make."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from oncurate.annotations import parametric
from oncurate.annotations.model import Code
from oncurate.errors import Rejection
from oncurate.reasons import Reason
from tests import annotated, phantoms

GRID = annotated.grid((5, 4, 3), orientation=phantoms.turned(5, 8, -20))
STORED = np.random.default_rng(3).integers(0, 4000, (3, 4, 5)).astype(np.uint16)


def made(values: np.ndarray = STORED, mapping: Dataset | None = None, order=(0, 1, 2), **attributes) -> Dataset:
    """A map of frames (n, rows, columns) on GRID, its frames stored in `order`; mapping of all of them."""
    places = [annotated.position(GRID, 0, 0, k) for k in order]
    pixels = values[list(order)] if values.dtype.kind == "u" else np.zeros(values.shape, np.uint16)
    ds = annotated.multiframe(pixels, GRID, places, sop_class=annotated.PARAMETRIC_MAP, modality="MR", **attributes)
    if mapping is not None:
        ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Items([mapping])
    if values.dtype.kind == "f":
        del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        keyword = "FloatPixelData" if values.dtype.itemsize == 4 else "DoubleFloatPixelData"
        setattr(ds, keyword, values[list(order)].tobytes())
        ds.BitsAllocated = values.dtype.itemsize * 8
    return ds


def decoded(ds: Dataset):
    return parametric.decode(annotated.as_bytes(ds))


def refusal(ds: Dataset) -> Reason:
    with pytest.raises(Rejection) as caught:
        decoded(ds)
    return caught.value.reason


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_integers_under_a_mapping_in_the_order_of_the_patient(order):
    found = decoded(made(mapping=annotated.real_world(0.5e-6, 1e-4), order=order))
    np.testing.assert_allclose(found.array, STORED.T * 0.5e-6 + 1e-4, rtol=1e-6)
    assert found.array.dtype == np.float32
    assert found.unit == "mm2/s"
    np.testing.assert_allclose(found.geometry.origin, GRID.origin, atol=1e-5)
    np.testing.assert_allclose(found.geometry.spacing, GRID.spacing, atol=1e-5)
    assert found.geometry.shape == GRID.shape


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_floats_are_values(dtype):
    values = (STORED / 7.0).astype(dtype)
    values[0, 0, 0] = np.nan
    found = decoded(made(values))
    np.testing.assert_allclose(found.array, values.T.astype(np.float32), equal_nan=True)
    assert found.unit is None


def test_a_table_of_values():
    mapping = annotated.real_world()
    del mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept
    mapping.RealWorldValueFirstValueMapped = 2
    mapping.RealWorldValueLUTData = [10.0, 20.5, 30.0]
    stored = np.random.default_rng(0).integers(2, 5, (3, 4, 5)).astype(np.uint16)
    np.testing.assert_array_equal(decoded(made(stored, mapping)).array, np.array([0, 0, 10, 20.5, 30])[stored.T])
    assert refusal(made(stored + 1, mapping)) is Reason.PIXEL_DATA_MISMATCH


def test_units_come_from_a_closed_table():
    for unit, said in (("1", "1"), ("mm2/s", "mm2/s"), ("furlong", None)):
        found = decoded(made(mapping=annotated.real_world(unit=(unit, "UCUM", "m"))))
        assert found.unit == said


def test_quantity():
    mapping = annotated.real_world()
    item = annotated.content("CODE", ("246205007", "SCT", "Quantity"))
    item.ConceptCodeSequence = Items([annotated.code("113041", "DCM", "Apparent Diffusion Coefficient")])
    mapping.QuantityDefinitionSequence = Items([item])
    assert decoded(made(mapping=mapping)).quantity == Code("113041", "DCM", "Apparent Diffusion Coefficient")


def test_what_makes_no_map():
    assert refusal(made()) is Reason.MISSING_ATTRIBUTE
    assert refusal(made(mapping=annotated.real_world(0.0))) is Reason.IMPLAUSIBLE_HEADER
    endless = np.full((3, 4, 5), np.inf, "<f4")
    assert refusal(made(endless)) is Reason.VALUES_NOT_FINITE
    uneven = made(mapping=annotated.real_world())
    place = uneven.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    place.ImagePositionPatient = annotated.position(GRID, 0, 0, 0)
    assert refusal(uneven) is Reason.REPEATED_POSITIONS
    unplaced = made(mapping=annotated.real_world())
    for frame in unplaced.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    assert refusal(unplaced) is Reason.MISSING_GEOMETRY


def test_a_map_of_one_slice_needs_a_thickness():
    ds = made(STORED[:1], annotated.real_world(), order=(0,))
    assert decoded(ds).array.shape == (5, 4, 1)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SliceThickness, measures.SpacingBetweenSlices
    assert refusal(ds) is Reason.MISSING_GEOMETRY
