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
from oncurate.recipe import sha256_hex
from oncurate.records import CohortSeries, CohortVolume, HarmonisedImage, NativeImage
from oncurate.store import Store
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
        before = recorded(provider, store, folder, "checked.json", PREVIEW)
        if before is not None and where(provider, store, f"{folder}/{METADATA}") is not None:
            checked = json.loads(before)
        else:
            checked = _check(provider, store, series, volume)
            store.write(zone.staged(f"{folder}/checked.json"), json.dumps(checked).encode())
        done.append({"volume_id": volume.volume_id, **checked})
    return zone.save(store, part, {}, Rows(rows=tuple(done)))


def _check(provider: Provider, store: Store, series: CohortSeries, volume: CohortVolume) -> dict[str, Any]:
    """Metrics of one volume, and digest and size of the two files that are written for it."""
    folder = zone.volume_folder(series.subject_id, volume.volume_id)
    native = where(provider, store, f"{folder}/{NATIVE}")
    if native is None:
        raise Defect("a native volume that convert reported is not in the work zone")
    image = nifti.read(native.read(f"{folder}/{NATIVE}"))
    described = NativeImage.model_validate_json(store.read(zone.staged(f"{folder}/native.json")))
    harmonised = HarmonisedImage.model_validate_json(store.read(zone.staged(f"{folder}/harmonised.json")))
    written = {
        PREVIEW: preview.render(image, series.Modality, described.value_unit),
        METADATA: volume_json(series, volume, described, harmonised),
    }
    for name, data in written.items():
        store.write(zone.staged(f"{folder}/{name}"), data)
    return {
        "metrics": quality.measure(image, series.Modality, described.value_unit),
        "files": {name: [sha256_hex(data), len(data)] for name, data in written.items()},
    }
