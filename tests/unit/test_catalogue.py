"""The catalogue says what is released, whoever releases at the same time, and is rebuilt when it was lost."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import ClassVar

import pytest

from oncurate import catalogue, release, tables
from oncurate.store import Store
from tests.staging import ABOUT, stage


@pytest.fixture
def target(tmp_path) -> Store:
    return Store(str(tmp_path / "target"))


def publish(target: Store, tmp_path, dataset: str, **changes) -> None:
    work = Store(str(tmp_path / "work" / dataset))
    about = ABOUT.model_copy(update={"dataset": dataset, **changes.pop("about", {})})
    release.publish(target.child(dataset), work, stage(work, about=about, **changes))
    catalogue.update(target, dataset)


def files(target: Store) -> dict[str, bytes]:
    return {key: target.read(key) for key in target.list("catalogue")}


def rows(target: Store) -> list[dict]:
    return tables.from_parquet(target.read("catalogue/catalogue.parquet"))


def test_one_row_for_each_data_set_in_its_current_version(target, tmp_path):
    publish(target, tmp_path, "lung-ct", volumes=12, subjects=6)
    publish(target, tmp_path, "brain-mr")
    publish(target, tmp_path, "brain-mr", volumes=4, inputs="more")
    brain, lung = rows(target)
    assert (brain["dataset"], brain["version"], brain["volumes"]) == ("brain-mr", "v2", 4)
    assert (lung["subjects"], lung["studies"], lung["age_min_years"], lung["age_max_years"]) == (6, 6, 40.0, 45.0)
    assert brain["age_min_years"] is None  # fewer than five subjects
    assert lung["manifest_sha256"] == target.sha256("lung-ct/releases/v1/manifest.parquet")
    assert lung["bytes"] == release.current(target.child("lung-ct")).bytes


def test_updating_again_changes_nothing_and_a_lost_catalogue_comes_back(target, tmp_path):
    publish(target, tmp_path, "lung-ct")
    publish(target, tmp_path, "brain-mr")
    before = files(target)
    catalogue.update(target, "lung-ct")
    assert files(target) == before
    for key in before:
        target.delete(key)
    catalogue.update(target, "lung-ct")
    assert files(target) == before


def test_data_sets_that_are_gone_or_half_there_are_not_listed(target, tmp_path):
    publish(target, tmp_path, "lung-ct")
    publish(target, tmp_path, "brain-mr")
    target.delete("brain-mr/current.json")
    target.write("other/current.json", b"{}")
    catalogue.update(target, "lung-ct")
    assert [row["dataset"] for row in rows(target)] == ["lung-ct"]


def test_data_sets_released_at_the_same_time_are_all_listed(target, tmp_path):
    names = [f"set-{i}" for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: publish(target, tmp_path, name, volumes=1), names))
    assert [row["dataset"] for row in rows(target)] == names


def test_an_overtaken_writer_sees_what_it_missed(target, tmp_path):
    publish(target, tmp_path, "lung-ct")
    publish(target, tmp_path, "brain-mr")

    class Overtaken(Store):
        """Its first look at the members happens before the other data set is entered."""

        looks: ClassVar[list[str]] = []

        def list(self, prefix=""):
            found = [key for key in super().list(prefix) if self.looks or "brain-mr" not in key]
            self.looks.append(prefix)
            return iter(found)

    catalogue.update(Overtaken(target.url), "lung-ct")
    assert len(rows(target)) == 2


def test_jsonld_states_what_can_be_computed(target, tmp_path):
    publish(target, tmp_path, "lung-ct", volumes=12, subjects=6)
    document = json.loads(target.read("catalogue/catalogue.jsonld"))
    (dataset,) = document["dcat:dataset"]
    assert dataset["healthdcatap:numberOfUniqueIndividuals"]["@value"] == "6"
    assert dataset["healthdcatap:numberOfRecords"]["@value"] == "6"
    assert dataset["healthdcatap:minTypicalAge"]["@value"] == "40"
    assert [m["skos:notation"] for m in dataset["eucaim:hasImageModality"]] == ["CT"]
    assert {word["@value"] for word in dataset["dcat:keyword"]} == {"cancer", "lung", "Computed tomography", "chest"}
    assert (
        dataset["dcat:distribution"]["spdx:checksum"]["spdx:checksumValue"]["@value"]
        == rows(target)[0]["manifest_sha256"]
    )
    assert "dct:temporal" not in dataset  # dates are shifted
    assert "dct:accessRights" not in dataset  # not stated by the provider, so not claimed
    assert undeclared_prefixes(document) == set()


def undeclared_prefixes(document: dict) -> set[str]:
    """Prefixes of keys, types and compact identifiers that the context does not declare."""

    def terms(node):
        if isinstance(node, list):
            for item in node:
                yield from terms(item)
        elif isinstance(node, dict):
            for key, value in node.items():
                if not key.startswith("@"):
                    yield key
                if key == "@type" or (key == "@id" and "/" not in value):
                    yield value
                elif key != "@value":
                    yield from terms(value)

    used = {term.partition(":")[0] for term in terms(document["dcat:dataset"]) if ":" in term}
    return used - document["@context"].keys() - {"mailto"}


def test_relative_links_of_page_and_jsonld_lead_to_objects(target, tmp_path):
    publish(target, tmp_path, "lung-ct")
    page = target.read("catalogue/index.html").decode()
    linked = set(re.findall(r'"(\.\./[^"]+)"', page + target.read("catalogue/catalogue.jsonld").decode()))
    assert len(linked) > 6
    for link in linked - {"../lung-ct/"}:
        assert target.exists(link.removeprefix("../")), link


class Page(HTMLParser):
    """Collects elements and checks that they close in order."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_escapes_everything(target, tmp_path):
    hostile = '"><script>alert(1)</script>&amp;<img src=http://evil.example/x>'
    publish(target, tmp_path, "lung-ct", about={"title": hostile, "provider": hostile, "cancer_types": (hostile,)})
    text = target.read("catalogue/index.html").decode()
    page = Page(text)
    assert page.open == []
    assert {"script", "img", "link", "iframe"}.isdisjoint(page.seen)
    assert not [item for item in page.attributes if item[1].startswith("on") or item[1] in ("src", "style")]
    assert all(not value.startswith(("http", "//")) for _, name, value in page.attributes if name == "href")
    assert "url(" not in text
    assert "@import" not in text
    assert ("html", "lang", "en") in page.attributes
    assert ("th", "scope", "col") in page.attributes
    assert ("th", "scope", "row") in page.attributes
    assert {"caption", "h1", "h2", "main"} <= set(page.seen)
