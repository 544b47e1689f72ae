"""Makes small staged releases in a work zone: real NIfTI objects, complete tables, a gate's verdict.

Belongs here: what the tests of release, card, catalogue and verify share. Does not belong here: DICOM phantoms.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np

from oncurate import ledger, tables
from oncurate.reasons import Reason, State
from oncurate.recipe import sha256_hex
from oncurate.staged import About, Staged, StagedObject
from oncurate.store import Store
from oncurate.verdict import GateReport

ABOUT = About(
    dataset="lung-ct",
    title="Lung CT | <phantoms>",
    provider="Phantom Hospital",
    country="NL",
    cancer_types=("lung",),
    contact="data@phantom.example",
)
RELEASED_AT = "2026-01-02T03:04:05+00:00"


def zones(tmp_path: Path) -> tuple[Store, Store]:
    """An empty data-set folder in an empty target, and an empty work zone."""
    return Store(str(tmp_path / "target" / "lung-ct")), Store(str(tmp_path / "work"))


def subject(number: int) -> str:
    """A pseudonym of the right form."""
    return "abcdefghijklmnopqrstuvwxyz234567"[number % 32] * 52


def stage(
    work: Store, *, volumes: int = 3, subjects: int = 2, about: About = ABOUT, inputs: str = "i", **changes
) -> Staged:
    """A staged release of `volumes` CT volumes of `subjects`; its objects depend on the volume's number only."""
    rows, objects = [], []
    for number in range(volumes):
        who, name = subject(number % subjects), f"volume{number:02d}"
        base = f"volumes/{who}/{name}"
        array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) + number
        image = gzip.compress(nibabel.Nifti1Image(array, np.diag([0.8, 0.8, 2.5, 1.0])).to_bytes(), mtime=0)
        contents = {
            "native.nii.gz": image,
            "harmonised.nii.gz": image,
            "volume.json": b"{}\n",
            "preview.png": b"png%d" % number,
        }
        for file, data in contents.items():
            work.write(f"done/{name}/{file}", data)
            objects.append(StagedObject(f"{base}/{file}", f"done/{name}/{file}", sha256_hex(data), len(data)))
        rows.append(
            {
                "volume_id": name,
                "subject_id": who,
                "study_id": f"study-{who}",
                "SeriesInstanceUID": f"2.25.{number}",
                "Modality": "CT",
                "BodyPartExamined": "CHEST" if number else None,
                "Manufacturer": "SIEMENS",
                "kind": "volume",
                "native_path": f"{base}/native.nii.gz",
                "harmonised_path": f"{base}/harmonised.nii.gz",
                "preview_path": f"{base}/preview.png",
                "metadata_path": f"{base}/volume.json",
                "native_sha256": sha256_hex(image),
                "native_spacing_mm": [0.8, 0.8, 2.5],
                "harmonised_spacing_mm": [1.0, 1.0, 1.0],
                "slice_spacing_mm": 2.5,
                "spacing_source": "PixelSpacing",
                "value_unit": "HU",
                "profile": "CT 2",
            }
        )
    people = sorted({row["subject_id"] for row in rows})
    made = {
        "volumes": tables.to_parquet("volumes", rows),
        "subjects": tables.to_parquet(
            "subjects", [{"subject_id": who, "PatientSex": "MF"[index % 2]} for index, who in enumerate(people)]
        ),
        "studies": tables.to_parquet(
            "studies",
            [
                {"study_id": f"study-{who}", "subject_id": who, "patient_age_years": 40.0 + index}
                for index, who in enumerate(people)
            ],
        ),
        "series": tables.to_parquet(
            "series", [{"SeriesInstanceUID": row["SeriesInstanceUID"], "Modality": "CT"} for row in rows]
        ),
        "quality": tables.to_parquet(
            "quality", [{"volume_id": row["volume_id"], "outlier_metrics": ["efc"]} for row in rows[:1]]
        ),
    }
    states = {State.CURATED: 8 * volumes, State.QUARANTINED: 1, State.DUPLICATE: 0, State.EXCLUDED: 2}
    sums = ledger.Sums(
        files=sum(states.values()), by_state=states, by_reason={Reason.MISSING_SLICES: 1, Reason.LOCALIZER: 2}
    )
    values = {
        "about": about,
        "inputs_digest": inputs,
        "recipe": "recipe-1",
        "released_at": RELEASED_AT,
        "objects": tuple(objects),
        "tables": made,
        "gates": {"volumes": gate_report("volumes", volumes)},
        "ledger": sums,
        "software": {"oncurate": "0.1.0"},
    }
    return Staged(**(values | changes))


def gate_report(suite: str, rows: int) -> bytes:
    """The verdict of a gate that passed, as JSON."""
    report = GateReport(
        suite=suite,
        table=suite,
        dimensions=("Complete",),
        rows=rows,
        passed=True,
        refusals=(),
        warnings=("odd_spacing",),
        quarantined_rows=0,
        expectations=(),
    )
    return report.model_dump_json().encode()


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
