"""A structure drawn on the slices of a tilted gantry lies where it was drawn, after the stack was sheared back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oncurate.annotations.decoding import as_image, decode, grid_of
from oncurate.convert import convert
from oncurate.plan import plan_series
from oncurate.policies import GeometryPolicy
from oncurate.records import CohortVolume
from tests import annotated, phantoms, structure_sets
from tests.encoding import instance_of

SLICES = 8
ROWS, COLUMNS, STEP = 40, 32, 3.0


def test_contours_on_a_tilted_stack(tmp_path: Path) -> None:
    paths = phantoms.ct_series(tmp_path, slices=SLICES, rows=ROWS, columns=COLUMNS, step=STEP, tilt_mm_per_slice=0.9)
    found = {path: instance_of(path.read_bytes()) for path in paths}
    by_url = {f"u{n}": path for n, path in enumerate(found)}
    instances = [found[path].model_copy(update={"url": url}) for url, path in by_url.items()]
    series, refused = plan_series(instances, lambda _: None, GeometryPolicy(gantry_tilt="shear"))
    assert series is not None
    assert not refused
    [planned] = series.volumes
    assert planned.correction == "shear"
    volume = CohortVolume(volume_id="x", recipe="x", planned=planned, masked=False)
    locators = {i.object: i.locator for i in instances}
    image, *_ = convert(volume, "CT", locators, lambda url: by_url[url].read_bytes())
    grid = grid_of(planned, image.affine, image.shape)

    contours, centres = [], []
    for instance in instances:
        position = np.array(instance.frames[0].position)
        centre = position + np.array([0.8 * 15, 0.8 * 18, 0.0])  # a fixed place in the slice: it moves with the tilt
        outline = structure_sets.circle(0.0, 0.0, 5.0)
        points = np.column_stack([outline + centre[:2], np.full(len(outline), centre[2])])
        contours.append(structure_sets.contour(points, image=instance.SOPInstanceUID))
        centres.append(centre)
    ds = structure_sets.structure_set({1: contours}, frame=series.FrameOfReferenceUID)
    label_map = decode("rtstruct", annotated.as_bytes(ds), planned, grid, series.FrameOfReferenceUID)

    drawn = as_image(label_map.layers[0], grid)
    np.testing.assert_allclose(drawn.affine, image.affine, atol=1e-6)
    assert drawn.shape == image.shape
    voxels = np.argwhere(drawn.array == 1)
    places = (np.c_[voxels, np.ones(len(voxels))] @ drawn.affine.T)[:, :3] * [-1, -1, 1]  # LPS mm
    for centre in centres:
        on_slice = places[np.abs(places[:, 2] - centre[2]) < STEP / 2]
        assert on_slice.mean(axis=0) == pytest.approx(centre, abs=0.25)
        assert len(on_slice) * 0.64 == pytest.approx(np.pi * 25, rel=0.05)
