"""Addresses and settings of DIMSE, and objects as files."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from oncurate import elements
from oncurate.errors import UsageError
from oncurate.sources.dimse import destination_of, peer_of
from oncurate.sources.dimse_link import CONTEXTS_AT_MOST, Wish
from oncurate.sources.settings import PullSettings
from oncurate.sources.storage import NOT_UNDERSTOOD, STORED, SYNTAXES, Received, contexts_of, entity
from oncurate.store import Store
from tasks.listen import Inbox, door_of
from tests.phantoms import CT, dataset, write


def test_an_address_is_a_title_a_host_and_a_port() -> None:
    peer = peer_of("dimse://PACS%20A@pacs.example.org:11112", PullSettings(calling_aet="US"))
    assert (peer.called, peer.host, peer.port, peer.calling, peer.tls) == (
        "PACS A",
        "pacs.example.org",
        11112,
        "US",
        None,
    )
    assert peer_of("dimse://A@b", PullSettings()).port == 104


@pytest.mark.parametrize(
    "url", ["dimse://host:104", "dimse://A:b@c:104", "dimse://A@:104", "dimse://A@b:x", "dimse://A@b/c"]
)
def test_other_addresses_are_explained(url: str) -> None:
    with pytest.raises(UsageError, match="TITLE@host:port"):
        peer_of(url, PullSettings())


@pytest.mark.parametrize("text", ["ONCURATE", ":104", "A:", "A:0", "A:65536", "A:x"])
def test_a_destination_is_a_title_and_a_port(text: str) -> None:
    assert destination_of("A:B:104") == ("A:B", 104)
    with pytest.raises(UsageError, match="TITLE:PORT"):
        destination_of(text)


@pytest.mark.parametrize("title", ["", " ", "SEVENTEEN LETTERS", "A\\B", "Ä"])
def test_titles_are_what_the_standard_allows(title: str) -> None:
    with pytest.raises(UsageError, match="AE title"):
        entity(title, 1.0)


def test_certificates_that_are_not_there_are_said(tmp_path: Path) -> None:
    for keys in ({"client_cert": str(tmp_path / "none.pem")}, {"ca_file": str(tmp_path / "none.pem")}):
        with pytest.raises(UsageError, match=r"none\.pem"):
            peer_of("dimse://A@b:104", PullSettings(**keys))


def test_each_syntax_of_a_class_is_offered_on_its_own_and_two_classes_fit_one_association() -> None:
    contexts = contexts_of(["1.2", "1.3"])
    assert len(contexts) == 2 * len(SYNTAXES) < CONTEXTS_AT_MOST
    assert all(len(context.transfer_syntax) == 1 for context in contexts)


def test_instances_are_asked_for_as_a_list_of_uids() -> None:
    identifier = Wish("1", "2", ["3", "4"]).identifier()
    assert identifier.QueryRetrieveLevel == "IMAGE"
    assert elements.values(identifier, "SOPInstanceUID") == ["3", "4"]


def received(folder: Path, **keys: Any) -> tuple[Received, bytes]:
    """A made object as if it had come, and its encoded data set."""
    ds = dataset()
    path = write(ds, folder / "x.dcm")
    whole = path.read_bytes()
    start = 132 + 12 + dcmread(io.BytesIO(whole)).file_meta.FileMetaInformationGroupLength
    data_set = whole[start:]
    given = {
        "sop_class": CT,
        "sop_instance": str(ds.SOPInstanceUID),
        "syntax": str(ds.file_meta.TransferSyntaxUID),
        "sender": "MADE",
        "data_set": memoryview(data_set),
        **keys,
    }
    return Received(**given), data_set


def test_a_data_set_is_kept_as_it_came(tmp_path: Path) -> None:
    one, data_set = received(tmp_path)
    whole = one.header() + data_set
    read = dcmread(io.BytesIO(whole))
    assert one.header() == one.header()
    assert read == dcmread(tmp_path / "x.dcm")
    assert read.file_meta.TransferSyntaxUID == one.syntax


def test_an_inbox_names_objects_by_their_digest_and_keeps_each_once(tmp_path: Path) -> None:
    inbox = Inbox(Store(str(tmp_path / "in")))
    one, data_set = received(tmp_path)
    assert [inbox.keep(one), inbox.keep(one)] == [STORED, STORED]
    (path,) = (p for p in (tmp_path / "in").rglob("*") if p.is_file())
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes().endswith(data_set)
    count = inbox.count()
    assert (count.received, count.present, count.refused) == (2, 1, {})
    assert count.bytes == 2 * path.stat().st_size


@pytest.mark.parametrize(
    "keys",
    [
        {"sop_instance": "1.2.3"},
        {"sop_class": "1.2.840.10008.5.1.4.1.1.4"},
        {"data_set": memoryview(b"")},
        {"data_set": memoryview(b"\x08\x00\x05\x00CS\x0a\x00ISO")},
        {"data_set": memoryview(b"no data set at all")},
    ],
)
def test_an_inbox_refuses_what_is_not_what_its_sender_says(tmp_path: Path, keys: dict[str, Any]) -> None:
    inbox = Inbox(Store(str(tmp_path / "in")))
    one, _ = received(tmp_path, **keys)
    assert inbox.keep(one) == NOT_UNDERSTOOD
    assert sum(inbox.count().refused.values()) == 1
    assert not [p for p in (tmp_path / "in").rglob("*") if p.is_file()]


def test_nobody_is_let_in_who_is_not_named() -> None:
    with pytest.raises(UsageError, match="--allow"):
        door_of("ONCURATE", "127.0.0.1", 0, [], None)
