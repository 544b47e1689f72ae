"""The check stage: image-quality metrics and previews of the volumes, and the file that describes each.

Belongs here: the batch around `oncurate.quality` and `oncurate.preview`. Does not belong here: metric definitions, and
judging outliers, which needs all volumes at once (`oncurate.outliers`).
"""

from __future__ import annotations

import json
from typing import Any

from oncurate import nifti, preview, quality
from oncurate.describe import volume_json
from oncurate.errors import Defect
from oncurate.provider import Provider
from oncurate.records import HarmonisedImage, NativeImage
from tasks import zone
from tasks.convert import NATIVE, recorded, volumes_of, where
from tasks.deidentify import Cohort
from tasks.guard import stage_task
from tasks.zone import Part, Rows

STAGE = "check"
PREVIEW = "preview.png"
METADATA = "volume.json"


@stage_task(STAGE)
def check_batch(
    provider: Provider,
    cohort: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Measure every volume of one cohort part, less those in `skip`; write its preview and its volume.json."""
    store = zone.work(provider)
    part = zone.part_of(STAGE, [cohort.name, sorted(skip)])
    done: list[dict[str, Any]] = []
    for series, volume in volumes_of(zone.unpack(store.read(cohort.records), Cohort), skip):
        folder = zone.volume_folder(series.subject_id, volume.volume_id)
        before = recorded(provider, store, folder, "quality.json", PREVIEW)
        if before is not None and where(provider, store, f"{folder}/{METADATA}") is not None:
            metrics = json.loads(before)
        else:
            native = where(provider, store, f"{folder}/{NATIVE}")
            if native is None:
                raise Defect("a native volume that convert reported is not in the work zone")
            image = nifti.read(native.read(f"{folder}/{NATIVE}"))
            described = NativeImage.model_validate_json(store.read(zone.staged(f"{folder}/native.json")))
            harmonised = HarmonisedImage.model_validate_json(store.read(zone.staged(f"{folder}/harmonised.json")))
            metrics = quality.measure(image, series.Modality, described.value_unit)
            store.write(
                zone.staged(f"{folder}/{PREVIEW}"), preview.render(image, series.Modality, described.value_unit)
            )
            store.write(zone.staged(f"{folder}/{METADATA}"), volume_json(series, volume, described, harmonised))
            store.write(zone.staged(f"{folder}/quality.json"), json.dumps(metrics).encode())
        done.append({"volume_id": volume.volume_id, "metrics": metrics})
    return zone.save(store, part, {}, Rows(rows=tuple(done)))
