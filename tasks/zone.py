"""Where things are in the zones of one data set, and how parts are written and read.

Belongs here: keys, and the two-file form of a stage's part: records for the next stage, rows for gates and ledger.
Does not belong here: what a stage computes.
"""

from __future__ import annotations

import gzip
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from oncurate.provider import Provider
from oncurate.recipe import content_name
from oncurate.records import Outcome, Record
from oncurate.store import Store

OBJECTS = "objects/objects.parquet"
HEADERS_KNOWN = "index/known.json.gz"
LEDGER = "ledger/ledger.parquet"
LAST_RUN = "last_run.json"
HEADERS = "headers"
KEY_CHECK = "keys/check"
CLINICAL_REPORT = "clinical/report.json.gz"
KEY_TABLE = "keys/keys.parquet"

P = TypeVar("P", bound=BaseModel)


class Rows(Record):
    """What the flow process needs of a part: table rows, outcomes, and small links. No record, no pixel."""

    rows: tuple[dict[str, Any], ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    links: dict[str, Any] = Field(default_factory=dict)


class Part(BaseModel):
    """What a batch task returns: where its records and rows are. A few strings, never data."""

    model_config = ConfigDict(frozen=True)

    name: str
    records: str  # key in the work zone
    rows: str  # key in the work zone


def work(provider: Provider) -> Store:
    """The data set's work zone."""
    return Store(provider.work_url)


def source_zone(provider: Provider) -> Store:
    """The source zone: what archives and remote sources were unpacked into."""
    return Store(f"{provider.work_url}/source")


def target(provider: Provider) -> Store:
    """The data set's folder in the target."""
    return Store(provider.dataset_url)


def volume_folder(subject_id: str, volume_id: str) -> str:
    """Folder of one volume, the same below the work zone's stage and the target."""
    return f"volumes/{subject_id}/{volume_id}"


def annotation_folder(subject_id: str, annotation_id: str) -> str:
    """Folder of one annotation, the same below the work zone's stage and the target."""
    return f"annotations/{subject_id}/{annotation_id}"


def staged(key: str) -> str:
    """The work-zone key under which a target object waits for publication."""
    return f"stage/{key}"


def pack(value: BaseModel | dict | list) -> bytes:
    """A record or JSON value as gzip, the same bytes for the same value."""
    text = value.model_dump_json().encode() if isinstance(value, BaseModel) else json.dumps(value).encode()
    return gzip.compress(text, compresslevel=1, mtime=0)


def unpack(data: bytes, model: type[P]) -> P:
    """The record in a gzip that `pack` made."""
    return model.model_validate_json(gzip.decompress(data))


def unpack_json(data: bytes) -> Any:
    """The JSON value in a gzip that `pack` made."""
    return json.loads(gzip.decompress(data))


def part_of(stage: str, identity: Any) -> Part:
    """The part that a stage makes of inputs with this identity: same inputs and recipe, same keys."""
    return named_part(stage, content_name({"stage": stage, "identity": identity}))


def named_part(stage: str, name: str) -> Part:
    """The part of a stage by its name."""
    return Part(name=name, records=f"parts/{stage}/{name}.json.gz", rows=f"parts/{stage}/{name}.rows.json.gz")


def finished(zone: Store, part: Part) -> bool:
    """Whether the part is there; rows are written last, so they stand for the whole."""
    return zone.exists(part.rows)


def save(zone: Store, part: Part, records: BaseModel | dict | list, rows: Rows) -> Part:
    """Write a part: records first, rows last."""
    zone.write(part.records, pack(records))
    zone.write(part.rows, pack(rows))
    return part


def load_rows(zone: Store, part: Part) -> Rows:
    """The rows of a part."""
    return unpack(zone.read(part.rows), Rows)
