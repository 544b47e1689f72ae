"""DICOM objects of a batch of patients, where the provider file asks for them: cleaned, verified, staged, audited.

Belongs here: which bytes are cleaned, the key of what is written, the audit. Does not belong here: any rule of
de-identification (`oncurate.deid`), what is done to pixels (`oncurate.pixelplan`, `oncurate.masking`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oncurate import masking, tables
from oncurate.allowlist import term
from oncurate.deid import AuditEntry, CleanFile, Engine
from oncurate.deid.policy import Pixels
from oncurate.deidentify import UNKNOWN_MODALITY
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.masking import Edit
from oncurate.provider import Provider
from oncurate.recipe import sha256_hex
from oncurate.records import CohortObject, CohortSeries, Companion
from oncurate.store import Store
from tasks import zone
from tasks.reading import read_object

OUTPUT = "dicom"


class ObjectWriter:
    """Writes the de-identified objects of one batch into the stage, and remembers what was done to them."""

    def __init__(self, provider: Provider, store: Store, keys: Keys, recipe: str) -> None:
        self._store, self._keys, self._recipe = store, keys, recipe
        self._engine = Engine(keys, provider.deidentify)
        self._audit: list[tuple[str, AuditEntry]] = []

    def images(
        self, urls: Mapping[str, str], edits: Mapping[str, Edit], modality: str, subject: str
    ) -> tuple[dict[str, CohortObject], dict[str, Rejection]]:
        """Write image objects; those written, and why the others could not be, both by digest of the source file.

        `urls` says where each file is, `edits` what was done to its pixels, or is to be done.
        """
        written: dict[str, CohortObject] = {}
        refused: dict[str, Rejection] = {}
        for name, url in sorted(urls.items()):
            edit = edits[name]
            try:
                data = read_object(url)
                if edit.is_needed:
                    data = masking.edited(data, edit)
                clean = self._engine.clean(data, subject=subject, pixels=edit.state)
                written[name] = self._put(name, clean, modality, edit.state)
            except Rejection as rejection:
                refused[name] = rejection
        return written, refused

    def companion(self, companion: Companion, subject: str, data: bytes) -> CohortObject:
        """Write an object that is no image, of which `data` is the source. Raises `Rejection`."""
        clean = self._engine.clean(data, subject=subject)
        return self._put(companion.object, clean, companion.Modality, "kept")

    def label_file(self, source: str, packed: bytes, cohort: CohortSeries) -> CohortObject:
        """Keep a label file, packed, in the work zone; it is released only as what `annotate` makes of it."""
        name = self._keys.object_name({"recipe": self._recipe, "object": source})
        key = f"labels/{name}.npz"
        self._store.write(zone.staged(key), packed)
        return CohortObject(
            key=key,
            sha256=sha256_hex(packed),
            bytes=len(packed),
            object=source,
            subject_id=cohort.subject_id,
            StudyInstanceUID=cohort.StudyInstanceUID,
            SeriesInstanceUID=cohort.SeriesInstanceUID,
            SOPInstanceUID="",
            SOPClassUID="",
            Modality=cohort.Modality,
            volume_ids=(),
        )

    def save_audit(self, name: str, metadata: Iterable[dict[str, str]]) -> list[list[Any]]:
        """Write the audit of the batch into the work zone; returns its sums, as `summed`."""
        rows = [
            {"output": OUTPUT, "object": source, "element": entry.path, "action": entry.action, "rule": entry.rule}
            for source, entry in self._audit
        ]
        rows += metadata
        self._store.write(f"audit/{name}.parquet", tables.to_parquet("audit", rows))
        return summed(rows)

    def _put(self, source: str, clean: CleanFile, modality: str, pixels: Pixels) -> CohortObject:
        name = self._keys.object_name({"recipe": self._recipe, "object": source, "pixels": pixels})
        key = f"{OUTPUT}/{clean.subject}/{clean.study_uid}/{clean.series_uid}/{name}.dcm"
        self._store.write(zone.staged(key), clean.data)
        self._audit += [(source, entry) for entry in clean.audit]
        return CohortObject(
            key=key,
            sha256=sha256_hex(clean.data),
            bytes=len(clean.data),
            object=source,
            subject_id=clean.subject,
            StudyInstanceUID=clean.study_uid,
            SeriesInstanceUID=clean.series_uid,
            SOPInstanceUID=clean.sop_instance_uid,
            SOPClassUID=clean.sop_class,
            Modality=term("modality", modality) or UNKNOWN_MODALITY,
            volume_ids=(),
        )


def summed(rows: Iterable[Mapping[str, str]]) -> list[list[Any]]:
    """Rows of the audit by what was done and why: output, action, rule, elements, objects."""
    elements: Counter[tuple[str, str, str]] = Counter()
    objects: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        rule = (row["output"], row["action"], row["rule"])
        elements[rule] += 1
        objects.setdefault(rule, set()).add(row["object"])
    return [[*rule, count, len(objects[rule])] for rule, count in sorted(elements.items())]


def summary(parts: Iterable[Sequence[Sequence[Any]]]) -> list[dict[str, Any]]:
    """Rows of table `deidentification`: the sums of all batches."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for part in parts:
        for output, action, rule, elements, objects in part:
            total = sums.setdefault((output, action, rule), [0, 0])
            total[0] += elements
            total[1] += objects
    return [
        {"output": output, "action": action, "rule": rule, "elements": elements, "objects": objects}
        for (output, action, rule), (elements, objects) in sorted(sums.items())
    ]
