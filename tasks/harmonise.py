"""The harmonise stage: native volumes -> the grid and value range of their modality's profile.

Belongs here: the batch around `oncurate.harmonise.harmonise`. Does not belong here: resampling.
"""

from __future__ import annotations

from typing import Any

import SimpleITK

from oncurate import nifti, reread
from oncurate.errors import Defect, Rejection
from oncurate.harmonise import harmonise
from oncurate.provider import Provider
from oncurate.records import HarmonisedImage, NativeImage, Outcome
from tasks import zone
from tasks.convert import NATIVE, grid_of, recorded, volumes_of, where
from tasks.deidentify import Cohort
from tasks.guard import stage_task
from tasks.index import refused
from tasks.zone import Part, Rows

STAGE = "harmonise"
HARMONISED = "harmonised.nii.gz"


@stage_task(STAGE)
def harmonise_batch(
    provider: Provider,
    cohort: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Harmonise every volume of one cohort part, less those in `skip`."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # one thread a worker process: Dask owns the cores
    store = zone.work(provider)
    part = zone.part_of(STAGE, [cohort.name, sorted(skip)])
    profiles = provider.profiles()
    done: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    for series, volume in volumes_of(zone.unpack(store.read(cohort.records), Cohort), skip):
        folder = zone.volume_folder(series.subject_id, volume.volume_id)
        before = recorded(provider, store, folder, "harmonised.json", HARMONISED)
        if before is not None:
            harmonised = HarmonisedImage.model_validate_json(before)
        else:
            described = NativeImage.model_validate_json(store.read(zone.staged(f"{folder}/native.json")))
            profile = profiles.choose(series.Modality, volume.planned.kind, described.value_unit)
            native = where(provider, store, f"{folder}/{NATIVE}")
            if native is None:
                raise Defect("a native volume that convert reported is not in the work zone")
            try:
                image, steps = harmonise(nifti.read(native.read(f"{folder}/{NATIVE}")), profile)
                data = nifti.write(image)
                reread.check(data, image)
                harmonised = HarmonisedImage(image=grid_of(image, data), profile=profile.label, steps=steps)
            except Rejection as refusal:
                outcomes.append(refused(volume.volume_id, STAGE, refusal))
                continue
            store.write(zone.staged(f"{folder}/{HARMONISED}"), data)
            store.write(zone.staged(f"{folder}/harmonised.json"), harmonised.model_dump_json().encode())
        done.append({"volume_id": volume.volume_id, "harmonised": harmonised.model_dump(mode="json")})
    return zone.save(store, part, {}, Rows(rows=tuple(done), outcomes=tuple(outcomes)))
