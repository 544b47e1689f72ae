"""The objects table in pieces says the same as the records that it was made of."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest

from oncurate import objects_table, tables
from oncurate.reasons import Reason
from oncurate.records import SourceObject


def made(count: int) -> list[SourceObject]:
    return [
        SourceObject(
            source_path=f"{n:03d} é",
            url=f"file:///{n}" if n % 3 else "",
            bytes=n << 33,
            version=str(n),
            sha256=f"{n:064x}",
            reason=None if n % 3 else Reason.NOT_SELECTED,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 23])
def test_the_table_gives_back_what_it_was_made_of(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(objects_table, "_PIECE", 4)
    objects = made(count)
    data = objects_table.to_parquet(iter(objects))
    assert list(objects_table.from_parquet(data)) == objects
    assert data == objects_table.to_parquet(objects)
    rows = [item.model_dump() for item in objects]
    assert tables.from_parquet(data) == rows
    assert objects_table.to_arrow(objects).equals(tables.to_arrow("objects", rows))


def test_a_table_that_was_written_by_rows_can_be_read() -> None:
    objects = made(5)
    rows = [item.model_dump(mode="json") for item in objects]
    assert list(objects_table.from_parquet(tables.to_parquet("objects", rows))) == objects


def test_a_source_object_is_frozen_exact_and_travels() -> None:
    (item,) = made(1)
    assert SourceObject.model_validate(item.model_dump()) == item
    assert pickle.loads(pickle.dumps(item)) == item
    assert item.model_copy(update={"url": "x"}).url == "x"
    with pytest.raises(FrozenInstanceError):
        item.url = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        SourceObject.model_validate({**item.model_dump(), "more": 1})
    with pytest.raises(ValueError, match="not a valid Reason"):
        SourceObject.model_validate({**item.model_dump(), "reason": "no such reason"})
