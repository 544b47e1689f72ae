"""The whole job on the shared archive of real images: everything in it is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oncurate import tables
from oncurate.store import Store
from oncurate.verify import verify
from tests.command import oncurate
from tests.flows import archive
from tests.provider_files import provider_file

pytestmark = [pytest.mark.flows, pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_every_file_is_accounted_for_and_a_second_run_does_nothing(shared_data: Path, tmp_path: Path) -> None:
    provider = provider_file(tmp_path, source=str(shared_data))
    ended = oncurate("curate", provider, "--json", home=tmp_path / "prefect")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["volumes"] > 0
    rows = tables.from_parquet((tmp_path / "work/made/ledger/ledger.parquet").read_bytes())
    outside = sorted(row["source_path"] for row in rows if "!/" not in row["source_path"])
    assert outside == [path for path in archive.listing(shared_data) if "!/" not in path]
    assert verify(Store(str(tmp_path / "curated/made"))).ok
    again = json.loads(oncurate("curate", provider, "--json", home=tmp_path / "prefect").stdout)
    assert (again["is_new"], again["current"]["version"]) == (False, "v1")
