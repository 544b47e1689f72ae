"""The convert stage: cohort series -> NIfTI on the acquired grid.

Belongs here: the batch around `oncurate.convert.convert`, and writing one volume once. Does not belong here: pixel
values and geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oncurate import nifti, reread
from oncurate.convert import convert
from oncurate.errors import Rejection
from oncurate.image import Image
from oncurate.provider import Provider
from oncurate.reasons import Reason
from oncurate.recipe import sha256_hex
from oncurate.records import CohortSeries, CohortVolume, GridImage, NativeImage, Outcome
from oncurate.store import Store
from tasks import zone
from tasks.deidentify import Cohort
from tasks.guard import stage_task
from tasks.index import Locators, locators_key, refused
from tasks.reading import read_object
from tasks.zone import Part, Rows

STAGE = "convert"
NATIVE = "native.nii.gz"


def volumes_of(cohort: Cohort, skip: tuple[str, ...]) -> Iterator[tuple[CohortSeries, CohortVolume]]:
    """Every volume of a cohort part that no gate has refused."""
    dropped = set(skip)
    for series in cohort.series:
        for volume in series.volumes:
            if volume.volume_id not in dropped:
                yield series, volume


def grid_of(image: Image, data: bytes) -> GridImage:
    """What is recorded of an image that was written as `data`. A value range that is not finite is a refusal."""
    low, high = float(image.array.min()), float(image.array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejection(Reason.VALUES_NOT_FINITE)
    return GridImage(
        shape=image.shape,
        spacing_mm=image.spacing,
        affine=tuple(float(x) for x in image.affine.ravel()),
        dtype="rgb24" if image.is_colour else str(image.array.dtype),
        min=low,
        max=high,
        sha256=sha256_hex(data),
        bytes=len(data),
    )


def where(provider: Provider, work: Store, key: str) -> Store | None:
    """The zone that holds a volume's object: staged in the work zone, or already published; None if neither does."""
    if work.exists(zone.staged(key)):
        return work.child("stage")
    published = zone.target(provider)
    return published if published.exists(key) else None


def recorded(provider: Provider, work: Store, folder: str, name: str, image: str) -> bytes | None:
    """A volume's record if it and the image it describes are both there: then the work was done before."""
    try:
        data = work.read(zone.staged(f"{folder}/{name}"))
    except FileNotFoundError:
        return None
    return data if where(provider, work, f"{folder}/{image}") is not None else None


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
    store = zone.work(provider)
    part = zone.part_of(STAGE, [cohort.name, sorted(skip)])
    located = zone.unpack(store.read(locators_key(plan)), Locators).locators
    locators = {locator.object: locator for locator in located}
    done: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for series, volume in volumes_of(zone.unpack(store.read(cohort.records), Cohort), skip):
        folder = zone.volume_folder(series.subject_id, volume.volume_id)
        before = recorded(provider, store, folder, "native.json", NATIVE)
        if before is not None:
            native = NativeImage.model_validate_json(before)
        else:
            try:
                image, unit, inverted, steps = convert(volume, series.Modality, locators, read_object)
                data = nifti.write(image)
                reread.check(data, image)
                native = NativeImage(image=grid_of(image, data), value_unit=unit, inverted=inverted, steps=steps)
            except Rejection as refusal:
                outcomes.append(refused(volume.volume_id, STAGE, refusal))
                continue
            store.write(zone.staged(f"{folder}/{NATIVE}"), data)
            store.write(zone.staged(f"{folder}/native.json"), native.model_dump_json().encode())
        done.append({"volume_id": volume.volume_id, "native": native.model_dump(mode="json")})
    return zone.save(store, part, {}, Rows(rows=tuple(done), outcomes=tuple(outcomes)))
