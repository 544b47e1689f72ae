"""The leak bench on a small archive: engine and whole job leave nothing behind, and lose nothing that is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.phi import bench, plant, runs
from benchmarks.phi.answers import Action
from benchmarks.phi.needles import Needles
from benchmarks.phi.verdict import Verdict

pytestmark = [pytest.mark.flows, pytest.mark.slow]

SEED, PATIENTS, REAL_FILES = 7, 2, 12


class Planted:
    """An archive with its answer key. It shows nothing of itself: test output must hold no value of a real header."""

    def __init__(self, folder: Path) -> None:
        runs.quiet()
        self.folder, self.archive, self.files = folder, folder / "archive", folder / "planted"
        self.key = plant.build(self.archive, self.files, SEED, PATIENTS, REAL_FILES)
        self.needles = Needles([*self.key.identifiers, *self.key.real, runs.SECRET])
        self.before = runs.sources(self.key, self.files)

    def __repr__(self) -> str:
        return "Planted()"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("phi"))


@pytest.fixture(scope="module")
def of_the_job(planted: Planted) -> Verdict:
    return bench.job(planted.key, planted.needles, planted.before, planted.folder, planted.archive)


def assert_good(verdict: Verdict) -> None:
    wrong = sorted({f"{w.item.action}, {w.item.place}, {w.item.path}: {w.why}" for w in verdict.score.wrong})
    assert (verdict.failures(), wrong) == ([], wrong)


def test_the_archive_is_full_of_what_is_looked_for(planted: Planted) -> None:
    numbers, key = (1, 6, 14), planted.key
    untouched = runs.Left(objects={n: plant.planted_at(planted.files, n).read_bytes() for n in numbers})
    found = {leak.identifier for leak in bench.leaks(untouched, planted.needles)}
    there = {v for item in key.items if item.file in numbers for v in item.absent if v in key.identifiers}
    assert len(found & there) > 0.95 * len(there)
    assert {item.action for item in key.items} == set(Action)


def test_the_engine_passes(planted: Planted) -> None:
    verdict = bench.engine(planted.key, planted.needles, planted.before, planted.files)
    assert_good(verdict)
    assert sum(verdict.score.left.values()) > 0.8 * len(planted.key.files)


def test_the_whole_job_passes(of_the_job: Verdict) -> None:
    assert_good(of_the_job)
    left = {kind for (kind, made), count in of_the_job.score.left.items() if made and count}
    assert left >= bench.IMAGE_KINDS & {"CT", "PT", "enhanced CT", "CR", "DX", "MG"}


def test_documents_leave_with_their_images(of_the_job: Verdict) -> None:
    left = {kind for (kind, made), count in of_the_job.score.left.items() if made and count}
    assert left >= {"SEG", "RTSTRUCT", "SR", "PR"}
    assert "PDF" not in left
