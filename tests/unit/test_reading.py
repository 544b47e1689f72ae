"""Reading a source object by its URL: in place on a disk, and out of a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from oncurate.sources import list_objects
from oncurate.store import Store
from tasks.reading import open_object, read_object


@pytest.mark.parametrize("name", ["plain.dcm", "with space.dcm", "per%20cent.dcm", "Zürich#1?.dcm", "a+b&c.dcm"])
def test_what_a_source_lists_can_be_read_by_its_url(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"0123456789")
    (listed,) = list_objects(str(tmp_path))
    assert listed.source_path == name
    assert read_object(listed.url) == b"0123456789"
    with open_object(listed.url) as stream:
        stream.seek(4)
        assert stream.read(2) == b"45"


def test_what_a_store_keeps_can_be_read_by_its_url(tmp_path: Path) -> None:
    store = Store(tmp_path.as_uri())
    store.write("objects/ab/abc", b"bytes")
    assert read_object(store.url_of("objects/ab/abc")) == b"bytes"


def test_what_has_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_object((tmp_path / "gone.dcm").as_uri())
