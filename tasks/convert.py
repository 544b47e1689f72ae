"""The convert stage: cohort series -> NIfTI on the acquired grid.

Belongs here: writing one volume once. Does not belong here: pixel values and geometry (`oncurate.convert`).
"""

from __future__ import annotations

import numpy as np

from oncurate import faces, nifti, reread
from oncurate.convert import convert
from oncurate.describe import NATIVE
from oncurate.errors import Defect, Rejection
from oncurate.image import Image
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.recipe import sha256_hex
from oncurate.records import CohortSeries, CohortVolume, GridImage, NativeImage
from oncurate.store import Store
from tasks import zone
from tasks.guard import stage_task
from tasks.index import Locators, locators_key
from tasks.pixelwork import face_of
from tasks.reading import read_object
from tasks.volumes import run_batch, where
from tasks.zone import Part

STAGE = "convert"
RECORD = "native"


def write_image(store: Store, key: str, image: Image) -> GridImage:
    """Stage an image, after a second reader agreed with its header, and return what was written.

    A value range that is not finite is a refusal.
    """
    low, high = float(image.array.min()), float(image.array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejection(Reason.VALUES_NOT_FINITE)
    data = nifti.write(image)
    reread.check(data, image)
    store.write(zone.staged(key), data)
    return GridImage(
        shape=image.shape,
        repetitions=image.count,
        spacing_mm=image.spacing,
        affine=tuple(float(x) for x in image.affine.ravel()),
        dtype="rgb24" if image.is_colour else str(image.array.dtype),
        min=low,
        max=high,
        sha256=sha256_hex(data),
        bytes=len(data),
    )


@stage_task(STAGE)
def convert_batch(
    provider: Provider,
    cohort: Part,
    plan: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Convert every volume of one cohort part, less those in `skip`."""
    located = zone.unpack(zone.work(provider).read(locators_key(plan)), Locators).locators
    locators = {locator.object: locator for locator in located}

    def work(store: Store, folder: str, series: CohortSeries, volume: CohortVolume) -> bytes:
        image, unit, inverted, steps = convert(volume, series.Modality, locators, read_object)
        face = face_of(store, volume)
        if face is not None:
            image, step = faces.deface(image, face, faces.fill_value(image, unit, volume.planned.padding))
            steps = (*steps, step)
        written = write_image(store, f"{folder}/{NATIVE}", image)
        record = NativeImage(
            image=written, value_unit=unit, inverted=inverted, steps=steps, correction=volume.planned.correction
        )
        return record.model_dump_json().encode()

    return run_batch(provider, cohort, skip, STAGE, RECORD, (NATIVE,), work)


def read_native(provider: Provider, store: Store, folder: str) -> tuple[Image, NativeImage]:
    """A converted volume, wherever it lies by now, and its record."""
    held = where(provider, store, f"{folder}/{NATIVE}")
    if held is None:
        raise Defect("a native volume that convert reported is in no zone")
    described = NativeImage.model_validate_json(store.read(zone.staged(f"{folder}/{RECORD}.json")))
    return nifti.read(held.read(f"{folder}/{NATIVE}")), described
