"""The harmonise stage: native volumes -> the grid and value range of their modality's profile.

Belongs here: choosing the profile and writing one volume once, with its normalised derivative where the profile asks
for one. Does not belong here: resampling (`oncurate.harmonise`), normalising (`oncurate.normalise`).
"""

from __future__ import annotations

from oncurate.describe import HARMONISED, NORMALISED
from oncurate.harmonise import SUV_UNIT, harmonise
from oncurate.image import Image
from oncurate.normalise import normalise, why_not
from oncurate.profiles import Profile
from oncurate.provider import Provider
from oncurate.records import CohortSeries, CohortVolume, GridImage, HarmonisedImage, PlannedVolume, Step
from oncurate.store import Store
from tasks.convert import read_native, write_image
from tasks.guard import stage_task
from tasks.volumes import run_batch
from tasks.zone import Part

STAGE = "harmonise"
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
        planned = volume.planned
        profile = profiles.choose(series.Modality, planned.kind, described.value_unit)
        factor = planned.suv.factor if profile.suv and planned.suv else None
        image, steps = harmonise(native, profile, padding=planned.padding, scale=factor)
        written = write_image(store, f"{folder}/{HARMONISED}", image)
        normalised, normalised_steps = _normalised(store, folder, image, profile, planned)
        return (
            HarmonisedImage(
                image=written,
                profile=profile.label,
                steps=steps,
                value_unit=described.value_unit if factor is None else SUV_UNIT,
                normalised=normalised,
                normalised_steps=normalised_steps,
            )
            .model_dump_json()
            .encode()
        )

    return run_batch(provider, cohort, skip, STAGE, RECORD, (HARMONISED,), work)


def _normalised(
    store: Store, folder: str, image: Image, profile: Profile, planned: PlannedVolume
) -> tuple[GridImage | None, tuple[Step, ...]]:
    """The normalised derivative as written, and its steps; where it must not be made, a step that says why."""
    if not profile.normalise:
        return None, ()
    why = why_not(planned, image)
    if why is not None:
        return None, (Step(name="normalise", arguments={"applied": False, "why": why}),)
    normalised, steps = normalise(image, profile.normalise)
    return write_image(store, f"{folder}/{NORMALISED}", normalised), steps
