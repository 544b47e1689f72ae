"""The check stage: image-quality metrics and previews of the volumes, and the file that describes each.

Belongs here: writing a volume's preview and volume.json. Does not belong here: metric definitions (`oncurate.quality`),
and judging outliers, which needs all volumes at once (`oncurate.outliers`).
"""

from __future__ import annotations

import json

from oncurate import preview, quality
from oncurate.describe import volume_json
from oncurate.provider import Provider
from oncurate.recipe import sha256_hex
from oncurate.records import CohortSeries, CohortVolume, HarmonisedImage
from oncurate.store import Store
from tasks import harmonise, zone
from tasks.convert import read_native
from tasks.guard import stage_task
from tasks.volumes import run_batch
from tasks.zone import Part

STAGE = "check"
PREVIEW = "preview.png"
METADATA = "volume.json"
RECORD = "checked"


@stage_task(STAGE)
def check_batch(
    provider: Provider,
    cohort: Part,
    skip: tuple[str, ...],
    number: int,  # noqa: ARG001 - names the run
    total: int,  # noqa: ARG001 - names the run
) -> Part:
    """Measure every volume of one cohort part, less those in `skip`; write its preview and its volume.json.

    The record holds the metrics, and digest and size of the two files.
    """

    def work(store: Store, folder: str, series: CohortSeries, volume: CohortVolume) -> bytes:
        image, described = read_native(provider, store, folder)
        record = store.read(zone.staged(f"{folder}/{harmonise.RECORD}.json"))
        written = {
            PREVIEW: preview.render(image, series.Modality, described.value_unit),
            METADATA: volume_json(series, volume, described, HarmonisedImage.model_validate_json(record)),
        }
        for name, data in written.items():
            store.write(zone.staged(f"{folder}/{name}"), data)
        checked = {
            "metrics": quality.measure(image, series.Modality, described.value_unit),
            "files": {name: [sha256_hex(data), len(data)] for name, data in written.items()},
        }
        return json.dumps(checked).encode()

    return run_batch(provider, cohort, skip, STAGE, RECORD, (PREVIEW, METADATA), work)
