"""The catalogue as one HTML page that needs nothing else: no script, no font, no other host.

Belongs here: layout and words. Does not belong here: anything that is not in a row of table `catalogue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any
from urllib.parse import quote

from oncurate.staged import MAIN_TABLES, folder, manifest_key, record_key, table_key

Row = Mapping[str, Any]
_SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB")
_COLUMNS = (("Data set", False), ("Cancer", False), ("Modalities", False), ("Subjects", True), ("Studies", True))
_MORE_COLUMNS = (("Volumes", True), ("Size", True), ("Release", False))


def render(rows: Sequence[Row]) -> str:
    """The page for all rows of table `catalogue`."""
    style = resources.files("oncurate").joinpath("data", "catalogue.css").read_text(encoding="utf-8")
    subjects, volumes = (sum(row[name] for row in rows) for name in ("subjects", "volumes"))
    sums = f"{_count(len(rows), 'data set')}, {_count(subjects, 'subject')}, {_count(volumes, 'volume')}"
    articles = "\n".join(map(_article, rows)) or "<p>Nothing is released here yet.</p>"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Curated cancer images</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>Curated cancer images</h1>
<p class="soft">De-identified, harmonised and quality-checked. {sums}.</p>
</header>
<main>
{_overview(rows)}
{articles}
</main>
<footer class="soft">
<p>For programs: <a href="catalogue.parquet">catalogue.parquet</a>, <a href="catalogue.jsonld">catalogue.jsonld</a>.</p>
</footer>
</body>
</html>
"""


def _overview(rows: Sequence[Row]) -> str:
    heads = "".join(f'<th scope="col"{_number(right)}>{name}</th>' for name, right in (*_COLUMNS, *_MORE_COLUMNS))
    lines = "\n".join(
        f'<tr><th scope="row"><a href="#{escape(row["dataset"])}">{escape(row["title"])}</a></th>'
        f"<td>{_list(row['cancer_types'])}</td><td>{_list(row['modalities'])}</td>"
        f'<td class="number">{row["subjects"]:,}</td><td class="number">{row["studies"]:,}</td>'
        f'<td class="number">{row["volumes"]:,}</td><td class="number">{_size(row["bytes"])}</td>'
        f"<td>{escape(row['version'])}</td></tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="All data sets">\n<table>\n'
        f"<caption>All data sets released here, in their current version</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>"
    )


def _article(row: Row) -> str:
    name, version = row["dataset"], row["version"]
    base = f"../{quote(name)}"
    provider = row["provider"] + (f" ({row['country']})" if row["country"] else "")
    facts = (
        ("Provider", escape(provider)),
        ("Cancer types", _tags(row["cancer_types"])),
        ("Modalities", _tags(row["modalities"])),
        ("Body parts", _tags(row["body_parts"])),
        ("Manufacturers", _tags(row["manufacturers"])),
        ("Sexes", _tags(row["sexes"])),
        ("Ages", _ages(row)),
        (
            "Holds",
            f"{_count(row['subjects'], 'subject')}, {_count(row['studies'], 'study', 'studies')}, "
            f"{_count(row['series'], 'series', 'series')}, "
            f"{_count(row['volumes'], 'volume')}; {_size(row['bytes'])}",
        ),
        ("Folder", f"<code>{escape(name)}/</code>"),
        ("Manifest SHA-256", f"<code>{escape(row['manifest_sha256'])}</code>"),
    )
    links = (
        (f"{folder(version)}/README.md", "Card"),
        (record_key(version), "release.json"),
        (manifest_key(version), "Manifest"),
        *((table_key(version, table), f"{table}.parquet") for table in MAIN_TABLES),
    )
    listed = "".join(f"<dt>{term}</dt><dd>{value}</dd>" for term, value in facts)
    linked = "".join(f'<li><a href="{base}/{quote(path)}">{text}</a></li>' for path, text in links)
    return (
        f'<article id="{escape(name)}" aria-labelledby="{escape(name)}-title">\n'
        f'<div class="top"><h2 id="{escape(name)}-title">{escape(row["title"])}</h2>\n'
        f'<p class="soft">{escape(version)}, released {escape(row["released_at"][:10])}</p></div>\n'
        f'<dl>{listed}</dl>\n<ul class="links">{linked}</ul>\n</article>'
    )


def _ages(row: Row) -> str:
    if row["age_min_years"] is None:
        return "not shown"
    return f"{row['age_min_years']:g} to {row['age_max_years']:g} years"


def _list(values: Iterable[str]) -> str:
    return escape(", ".join(values)) or "not stated"


def _tags(values: Iterable[str]) -> str:
    return "".join(f'<span class="tag">{escape(value)}</span>' for value in values) or "not stated"


def _number(right: bool) -> str:
    return ' class="number"' if right else ""


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _size(number: float) -> str:
    """Bytes in the decimal unit that leaves one to three digits before the point."""
    unit = 0
    while number >= 1000 and unit < len(_SIZES) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_SIZES[unit]}" if unit == 0 or number >= 100 else f"{number:.1f} {_SIZES[unit]}"
