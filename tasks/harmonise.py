"""The harmonise stage: native volumes -> the grid and value range of their modality's profile.

Belongs here: choosing the profile and writing one volume once. Does not belong here: resampling (`oncurate.harmonise`).
"""

from __future__ import annotations

from oncurate.harmonise import harmonise
from oncurate.provider import Provider
from oncurate.records import CohortSeries, CohortVolume, HarmonisedImage
from oncurate.store import Store
from tasks.convert import read_native, write_image
from tasks.guard import stage_task
from tasks.volumes import run_batch
from tasks.zone import Part

STAGE = "harmonise"
HARMONISED = "harmonised.nii.gz"
RECORD = "harmonised"


@stage_task(STAGE)
def harmonise_batch(
    provider: Provider,
    cohort: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Harmonise every volume of one cohort part, less those in `skip`."""
    profiles = provider.profiles()

    def work(store: Store, folder: str, series: CohortSeries, volume: CohortVolume) -> bytes:
        native, described = read_native(provider, store, folder)
        profile = profiles.choose(series.Modality, volume.planned.kind, described.value_unit)
        image, steps = harmonise(native, profile)
        written = write_image(store, f"{folder}/{HARMONISED}", image)
        return HarmonisedImage(image=written, profile=profile.label, steps=steps).model_dump_json().encode()

    return run_batch(provider, cohort, skip, STAGE, RECORD, (HARMONISED,), work)
