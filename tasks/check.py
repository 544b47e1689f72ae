"""The check stage: image-quality metrics and previews of the volumes, and the file that describes each.

Belongs here: writing a volume's preview and volume.json. Does not belong here: metric definitions (`oncurate.quality`),
and judging outliers, which needs all volumes at once (`oncurate.outliers`).
"""

from __future__ import annotations

import json

import numpy as np

from oncurate import describe, diffusion, preview, quality
from oncurate.describe import volume_json
from oncurate.provider import Provider
from oncurate.recipe import sha256_hex
from oncurate.records import CohortSeries, CohortVolume, HarmonisedImage, NativeImage, PlannedVolume
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


def _diffusion(planned: PlannedVolume, native: NativeImage, harmonised: HarmonisedImage) -> dict[str, bytes]:
    """The FSL files of a 4-D diffusion volume by name: directions are given in the axes of each image."""
    if not describe.is_diffusion(planned):
        return {}
    gradients = [r.gradient for r in planned.repetitions]
    b_values = diffusion.bval_text([r.b_value or 0.0 for r in planned.repetitions]).encode()
    written = {describe.NATIVE_BVAL: b_values, describe.HARMONISED_BVAL: b_values}
    for name, image in ((describe.NATIVE_BVEC, native.image), (describe.HARMONISED_BVEC, harmonised.image)):
        affine = np.array(image.affine).reshape(4, 4)
        written[name] = diffusion.bvec_text(diffusion.bvecs(gradients, affine)).encode()
    return written


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
        harmonised = HarmonisedImage.model_validate_json(record)
        written = {
            PREVIEW: preview.render(image, series.Modality, described.value_unit),
            METADATA: volume_json(series, volume, described, harmonised),
            **_diffusion(volume.planned, described, harmonised),
        }
        for name, data in written.items():
            store.write(zone.staged(f"{folder}/{name}"), data)
        checked = {
            "metrics": quality.measure(image, series.Modality, described.value_unit),
            "files": {name: [sha256_hex(data), len(data)] for name, data in written.items()},
        }
        return json.dumps(checked).encode()

    return run_batch(provider, cohort, skip, STAGE, RECORD, (PREVIEW, METADATA), work)
