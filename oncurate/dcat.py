"""The catalogue as JSON-LD, in the terms of DCAT-AP 3 with the health extension and those of Cancer Image Europe.

Belongs here: which term says what of a release. Does not belong here: anything that cannot be computed from a release
or was not stated by the provider: access body, applicable legislation, legal basis and interoperability level are added
by those who register the data set. `dct:temporal` is left out on purpose: all dates are shifted, so it would be wrong.
Links are relative to the catalogue's own place, so a copied target stays whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from oncurate.staged import MAIN_TABLES, Current, ReleaseRecord, folder, manifest_key, record_key, table_key
from oncurate.tables import TABLES

CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "csvw": "http://www.w3.org/ns/csvw#",
    "dpv": "https://w3id.org/dpv#",
    "healthdcatap": "http://healthdataportal.eu/ns/health#",
    "eucaim": "https://cancerimage.eu/ontology/EUCAIM#",
}
_AUTHORITY = "http://publications.europa.eu/resource/authority"
_MEDIA_TYPES = "https://www.iana.org/assignments/media-types"

MODALITIES = {
    "CT": ("eucaim:IMG1000026", "Computed tomography"),
    "MR": ("eucaim:IMG1000022", "Magnetic resonance imaging"),
    "MG": ("eucaim:IMG1000030", "Mammography"),
    "PT": ("http://www.radlex.org/RID/RID10337", "Positron emission tomography"),
}
"""Concepts of modalities: the federation's ontology where its code is known, RadLex otherwise."""
SEXES = {"M": ("eucaim:COM1001366", "Male"), "F": ("eucaim:COM1001370", "Female")}


def catalogue(listed: Iterable[tuple[Current, ReleaseRecord]]) -> dict[str, Any]:
    """All data sets of a target as one `dcat:Catalog`."""
    return {
        "@context": CONTEXT,
        "@id": "catalogue.jsonld",
        "@type": "dcat:Catalog",
        "dct:title": _english("Curated cancer images"),
        "dct:description": _english("The data sets that are released in this place, each in its current version."),
        "dcat:dataset": [dataset(pointed, record) for pointed, record in listed],
    }


def dataset(pointed: Current, record: ReleaseRecord) -> dict[str, Any]:
    """The current release of one data set as a `dcat:Dataset`."""
    content, counts = record.content, record.counts
    here = f"../{record.dataset}"
    node = {
        "@id": f"{here}/",
        "@type": "dcat:Dataset",
        "dct:identifier": record.dataset,
        "dct:title": _english(record.title),
        "dct:description": _english(record.description or _description(record)),
        "dcat:version": record.version,
        "dct:issued": _typed(record.released_at, "dateTime"),
        "dcat:theme": {"@id": f"{_AUTHORITY}/data-theme/HEAL"},
        "healthdcatap:healthCategory": _concept(None, "Medical images of people with cancer"),
        "dct:type": {"@id": "dpv:PseudonymisedData"},
        "dct:publisher": _publisher(record),
        "dct:accessRights": record.access_rights
        and {"@type": "dct:RightsStatement", "rdfs:label": _english(record.access_rights)},
        "dcat:contactPoint": record.contact and _contact(record.contact),
        "dct:provenance": {"@type": "dct:ProvenanceStatement", "rdfs:label": _english(_provenance(record))},
        "healthdcatap:hasStructuredData": True,
        "healthdcatap:hasVariables": {"@type": "csvw:TableGroup", "csvw:table": _tables(record, here)},
        "healthdcatap:numberOfUniqueIndividuals": _typed(counts.subjects, "nonNegativeInteger"),
        "healthdcatap:numberOfRecords": _typed(counts.studies, "nonNegativeInteger"),
        "healthdcatap:minTypicalAge": _years(content.age_min_years),
        "healthdcatap:maxTypicalAge": _years(content.age_max_years),
        "eucaim:hasImageModality": [_known(MODALITIES, code) for code in content.modalities],
        "eucaim:hasImageBodyPart": [_concept(code, code.title()) for code in content.body_parts],
        "eucaim:hasEquipmentManufacturer": [_concept(name, name) for name in content.manufacturers],
        "eucaim:hasBirthSex": [_known(SEXES, code) for code in content.sexes],
        "eucaim:hasCondition": [_concept(None, f"Cancer: {kind}") for kind in record.cancer_types],
        "dcat:keyword": [_english(word) for word in _keywords(record)],
        "foaf:page": {"@id": f"{here}/{folder(record.version)}/README.md", "@type": "foaf:Document"},
        "dcat:distribution": _distribution(pointed, record, here),
    }
    return {term: value for term, value in node.items() if value not in (None, "", [])}


def _distribution(pointed: Current, record: ReleaseRecord, here: str) -> dict[str, Any]:
    """The release as files. Its checksum is the manifest's, which holds the checksum of every other object."""
    return {
        "@id": f"{here}/{manifest_key(record.version)}",
        "@type": "dcat:Distribution",
        "dct:title": _english("NIfTI volumes and Parquet tables"),
        "dct:description": _english("byteSize is that of all objects, checksum that of the manifest which lists them."),
        "dcat:accessURL": {"@id": f"{here}/{record_key(record.version)}"},
        "dct:format": [
            {"@id": f"{_MEDIA_TYPES}/{kind}"} for kind in ("application/vnd.apache.parquet", "application/gzip")
        ],
        "dcat:mediaType": {"@id": f"{_MEDIA_TYPES}/application/vnd.apache.parquet"},
        "dct:conformsTo": {"@id": "https://nifti.nimh.nih.gov/nifti-1/"},
        "dcat:byteSize": _typed(pointed.bytes, "nonNegativeInteger"),
        "spdx:checksum": {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256"},
            "spdx:checksumValue": _typed(pointed.manifest_sha256, "hexBinary"),
        },
    }


def _tables(record: ReleaseRecord, here: str) -> list[dict[str, Any]]:
    """The tables that every release has. Each Parquet file says itself what its columns mean."""
    return [
        {
            "@type": "csvw:Table",
            "csvw:url": {"@id": f"{here}/{table_key(record.version, name)}"},
            "dct:description": _english(f"One row is {TABLES[name].row}."),
        }
        for name in MAIN_TABLES
    ]


def _publisher(record: ReleaseRecord) -> dict[str, Any]:
    agent: dict[str, Any] = {"@type": "foaf:Organization", "foaf:name": record.provider}
    return agent | ({"vcard:country-name": record.country} if record.country else {})


def _contact(contact: str) -> dict[str, Any]:
    """A point of contact: an address of mail, a page, or else a name."""
    if contact.startswith(("https://", "http://")):
        return {"@type": "vcard:Kind", "vcard:hasURL": {"@id": contact}}
    if "@" in contact and not any(character.isspace() for character in contact):
        return {"@type": "vcard:Kind", "vcard:hasEmail": {"@id": f"mailto:{contact}"}}
    return {"@type": "vcard:Kind", "vcard:fn": contact}


def _description(record: ReleaseRecord) -> str:
    kinds = ", ".join(record.content.modalities)
    return f"{record.counts.volumes} curated volumes ({kinds}) of {record.counts.subjects} subjects."


def _provenance(record: ReleaseRecord) -> str:
    software = ", ".join(f"{name} {version}" for name, version in sorted(record.software.items()))
    return f"De-identified, converted, harmonised and quality-checked with {software}; recipe {record.recipe}."


def _keywords(record: ReleaseRecord) -> list[str]:
    words = ["cancer", *record.cancer_types]
    words += [MODALITIES[code][1] if code in MODALITIES else code for code in record.content.modalities]
    return words + [part.lower() for part in record.content.body_parts]


def _known(concepts: Mapping[str, tuple[str, str]], code: str) -> dict[str, Any]:
    if code not in concepts:
        return _concept(code, code)
    iri, label = concepts[code]
    return {"@id": iri, **_concept(code, label)}


def _concept(code: str | None, label: str) -> dict[str, Any]:
    concept: dict[str, Any] = {"@type": "skos:Concept", "skos:prefLabel": _english(label)}
    return concept | ({"skos:notation": code} if code else {})


def _english(text: str) -> dict[str, str]:
    return {"@value": text, "@language": "en"}


def _typed(value: str | int, kind: str) -> dict[str, str]:
    return {"@value": str(value), "@type": f"xsd:{kind}"}


def _years(age: float | None) -> dict[str, str] | None:
    return None if age is None else _typed(math.floor(age), "nonNegativeInteger")
