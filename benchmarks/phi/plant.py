"""The archive of the bench: patients, studies, files, folders and an archive file, all planted, with its answer key.

Belongs here: whose which file is, and which plantings each gets. Does not belong here: the plantings.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from benchmarks.phi import documents, headers, hidden, made, real, survivors, wording
from benchmarks.phi.answers import Action, File, Item, Key, Reference, step
from benchmarks.phi.made import Draft
from benchmarks.phi.people import SCRIPTS, People
from benchmarks.phi.site import Patient, Site, Study
from oncurate.elements import PARSE_ERRORS

FIRST_DAY, DAYS = date(2019, 3, 1), 600
"""Studies lie here; shifted by up to ten years they are still younger than every personal day."""
BETWEEN_DAYS = 91

PLANTINGS = (
    headers.patient,
    headers.staff_and_places,
    headers.days,
    headers.uids,
    headers.depths,
    wording.descriptions,
    wording.remarks,
    wording.namesake,
    wording.labels,
    hidden.envelope,
    hidden.unknown,
    hidden.behind_nul,
    hidden.private_blocks,
    hidden.graphics,
    hidden.around_pixels,
    survivors.numbers,
    survivors.visible,
)


class Archive:
    """The archive under construction in `folder`; `planted` gets a copy of each file under its number."""

    def __init__(self, folder: Path, planted: Path, seed: int) -> None:
        self.folder, self.planted, self.people, self.key = folder, planted, People(seed), Key(seed)
        self._targets: dict[str, int] = {}
        self._waiting: list[tuple[int, str, str]] = []

    def made(self, patients: int) -> None:
        """Made patients with two studies each, the whole range of kinds spread over them; one comes as a zip file."""
        scripts = list(SCRIPTS)
        for number in range(patients):
            patient = self._patient(f"made {number}", scripts[number % len(scripts)])
            first = [self._plant(patient, patient.studies[0], draft) for draft in self._first_study(number, patient)]
            second = [self._plant(patient, patient.studies[1], draft) for draft in self._second_study(number, patient)]
            self._interval(first[0], second[0])
            if number == 0:
                self._pack()

    def real(self, limit: int) -> None:
        """Real files under made patients, one for each study; files that share a series stay together."""
        patients: dict[str, Patient] = {}
        for path in real.files(limit):
            ds = real.read(path)
            if ds is None:
                continue
            study = str(ds.get("StudyInstanceUID") or ds.SeriesInstanceUID)
            if study not in patients:
                patients[study] = patient = self._patient(f"real {len(patients)}", "latin")
                patient.studies[0].uid = study
            patient = patients[study]
            self._plant(patient, patient.studies[0], Draft(ds, str(ds.get("Modality", "")), "either", made=False))

    def close(self) -> Key:
        """Resolve the references between files; the key is complete."""
        self.key.references = [
            Reference(number, path, self._targets[uid]) for number, path, uid in self._waiting if uid in self._targets
        ]
        return self.key

    def _patient(self, name: str, script: str) -> Patient:
        people = self.people
        first = FIRST_DAY + timedelta(people.random.randrange(DAYS))
        patient = Patient(
            name, people.person(script), script, people.number("Z"), f"HOSP{people.code()}", people.birthday()
        )
        for day in (first, first + timedelta(BETWEEN_DAYS)):
            patient.studies.append(Study(people.uid(), day, people.code()))
        return patient

    def _uids(self) -> Iterator[str]:
        while True:
            yield self.people.uid()

    def _first_study(self, number: int, patient: Patient) -> list[Draft]:
        uids, frame = self._uids(), self.people.uid()
        slices = made.stack(("CT", "PT", "MR")[number % 3], uids, number, frame)
        study = [draft.ds for draft in slices]
        for ds in study:
            ds.StudyInstanceUID = patient.studies[0].uid
        segmented = documents.segmentation(uids, study)
        outlined = documents.structures(uids, study)
        dose, report = documents.dose(uids, study, outlined.ds), documents.report(uids, study[0], segmented.ds)
        return [*slices, segmented, outlined, dose, report]

    def _second_study(self, number: int, patient: Patient) -> list[Draft]:
        uids, said = self._uids(), f"{self.people.name()} {patient.id}"
        film = made.planar("DX", uids, number)
        film.ds.StudyInstanceUID = patient.studies[1].uid
        drafts = [
            film,
            documents.presentation(uids, film.ds),
            made.planar("CR", uids, number),
            made.planar("MG", uids, number),
            made.jpeg_ls(uids, number),
            made.enhanced_ct(uids, number, self.people.uid()),
            made.ultrasound(uids, number, said),
            made.screen(uids, number, said),
            documents.letter(uids, said),
        ]
        return drafts

    def _plant(self, patient: Patient, study: Study, draft: Draft) -> File | None:
        number = len(self.key.files) + 1
        site = Site(self.key, self.people, patient, study, draft, number)
        before = len(self.key.items)
        source = str(draft.ds.SOPInstanceUID)
        with unchecked():
            try:
                draft.ds.InstanceNumber = number
                for planting in PLANTINGS:
                    planting(site)
                data = _written(draft.ds)
            except PARSE_ERRORS:
                if draft.made:
                    raise
                del self.key.items[before:]  # a real file that pydicom cannot write says nothing
                return None
        name = self._name(patient, draft.kind, number)
        file = File(number, name, draft.kind, patient.name, draft.made, draft.leaves)
        self.key.files.append(file)
        if draft.made:
            self._targets[source] = number
            self._waiting += [(number, path, uid) for path, uid in draft.refers_to]
        else:
            self.key.real.update(v for v in real.identifying(draft.ds) if v not in self.key.identifiers)
        for path in (self.folder / name, planted_at(self.planted, number)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return file

    def _name(self, patient: Patient, kind: str, number: int) -> str:
        folder, file = self.people.name(), self.people.name()
        self.key.forbid((folder, file), "names of files and folders")
        return f"{folder} {patient.id}/{kind or 'object'}/{file} {number}.dcm"

    def _interval(self, first: File | None, second: File | None) -> None:
        assert first is not None
        assert second is not None
        self.key.items.append(_between(first.number, second.number))

    def _pack(self) -> None:
        """Move what was planted so far into a zip file whose name, comment and members name somebody."""
        name, comment = self.people.name(), self.people.name()
        self.key.forbid((name, comment), "name and comment of an archive file")
        with zipfile.ZipFile(self.folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.comment = comment.encode()
            for file in self.key.files:
                path = self.folder / file.name
                packed.write(path, file.name)
                path.unlink()


def _between(first: int, second: int) -> Item:
    return Item(
        second, step("StudyDate"), Action.INTERVAL_RETAINED, "interval", value=str(BETWEEN_DAYS), kept=(str(first),)
    )


def _written(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def planted_at(planted: Path, number: int) -> Path:
    """Where the copy of a planted file is."""
    return planted / f"{number}.dcm"


def build(folder: Path, planted: Path, seed: int, patients: int, real_files: int) -> Key:
    """Write the whole archive below `folder`, and each file under its number into `planted`; the answer key."""
    archive = Archive(folder, planted, seed)
    folder.mkdir(parents=True, exist_ok=True)
    archive.made(patients)
    archive.real(real_files)
    return archive.close()


@contextmanager
def unchecked() -> Iterator[None]:
    """pydicom writes what is planted although some of it breaks the rules of the elements' VRs."""
    settings = config.settings
    before = (settings.reading_validation_mode, settings.writing_validation_mode)
    settings.reading_validation_mode = settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before
