"""The card of a data set: the README.md of a release, written from its tables.

Belongs here: what a reader of a release has to know, in plain words, as Markdown. Does not belong here: counting
(`oncurate.summary`), or anything that is not in the release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from oncurate.card_privacy import privacy
from oncurate.reasons import State
from oncurate.staged import ReleaseRecord, folder
from oncurate.summary import MINIMUM_CELL, Extent, Group, Summary, disclosed
from oncurate.verdict import GateReport

_SEXES = {"F": "female", "M": "male", "O": "other"}

_FILES = """\
| file, relative to the data set | what it is |
|---|---|
| `{folder}/tables/*.parquet` | subjects, studies, series, volumes, quality, annotations; columns say what they mean |
| `volumes/<subject>/<volume>/native.nii.gz` | the volume on the grid it was acquired on |
| `volumes/<subject>/<volume>/harmonised.nii.gz` | the same volume in the common orientation, grid and value range |
| `volumes/<subject>/<volume>/volume.json` | its attributes, slices, recipe and applied steps |
| `volumes/<subject>/<volume>/preview.png` | three planes of it |
| `annotations/<subject>/<annotation>/` | label maps on both grids of their image, doses and maps, labels.json |
| `dicom/<subject>/<study>/<series>/*.dcm` | the de-identified DICOM objects, where the provider asked for them |
| `{folder}/manifest.parquet` | path, size and SHA-256 of every object of this release |
| `{folder}/gates/*.json` | the verdicts of the data-quality gates |"""

_READING = """\
In the data set's folder, with DuckDB and SimpleITK installed:

```python
import duckdb
import SimpleITK as sitk

volumes = duckdb.sql('''
    SELECT v.volume_id, v.Modality, v.native_path, v.harmonised_path, s.PatientSex
    FROM '{folder}/tables/volumes.parquet' AS v
    JOIN '{folder}/tables/subjects.parquet' AS s USING (subject_id)
    ORDER BY v.volume_id
''').fetchall()

image = sitk.ReadImage(volumes[0][3])
print(volumes[0][1], image.GetSize(), image.GetSpacing())
```

What a column means is in the table itself:

```python
import pyarrow.parquet as pq

for field in pq.read_schema("{folder}/tables/volumes.parquet"):
    print(field.name, "-", field.metadata[b"description"].decode())
```"""


def render(record: ReleaseRecord, facts: Summary, gates: Mapping[str, bytes]) -> str:
    """The card as Markdown; the same text for the same release. `gates` are the suites' reports as JSON."""
    where = folder(record.version)
    parts = [
        f"# {_text(record.title)}",
        _lead(record, facts),
        _section("At a glance", _glance(record)),
        _section("Images", _images(facts)),
        _section("People", _people(facts)),
        _section("Geometry", _geometry(facts.extents)),
        _section("How the values and grids were made", _making(record, facts)),
        _section("What was refused, and why", _refused(record)),
        _section("Quality gates", _gates(gates)),
        _section("Privacy", privacy(record.parameters)),
        _section("What is where", _FILES.replace("{folder}", where)),
        _section("How to read it", _READING.replace("{folder}", where)),
        _section("Terms of use", _terms(record)),
    ]
    return "\n\n".join(parts) + "\n"


def _lead(record: ReleaseRecord, facts: Summary) -> str:
    kinds = ", ".join(facts.content.modalities) or "no"
    lead = (
        f"{_count(record.counts.volumes, 'volume')} ({kinds}) of {_count(record.counts.subjects, 'subject')}, "
        f"de-identified and harmonised, provided by {_text(record.provider)}"
    )
    lead += f" ({_text(record.country)})." if record.country else "."
    return f"{_text(record.description)}\n\n{lead}" if record.description else lead


def _glance(record: ReleaseRecord) -> str:
    counts = record.counts
    rows = [
        ("data set", f"`{record.dataset}`"),
        ("release", f"{record.version}, {record.released_at}"),
        ("cancer types", ", ".join(map(_text, record.cancer_types)) or "not stated"),
        ("subjects", f"{counts.subjects:,}"),
        ("imaging studies", f"{counts.studies:,}"),
        ("series", f"{counts.series:,}"),
        ("volumes", f"{counts.volumes:,}"),
    ]
    if counts.annotations:
        rows.append(("annotations", f"{counts.annotations:,}"))
    return _table(("what", "value"), rows)


def _images(facts: Summary) -> str:
    blocks = (("modality", facts.modalities), ("body part", facts.body_parts), ("manufacturer", facts.manufacturers))
    return "\n\n".join(_table((name, "subjects", "series", "volumes"), map(_group, groups)) for name, groups in blocks)


def _group(group: Group) -> tuple[str, str, str, str]:
    subjects = f"{group.subjects:,}" if group.subjects >= MINIMUM_CELL else f"< {MINIMUM_CELL}"
    return (_text(group.name), subjects, f"{group.series:,}", f"{group.volumes:,}")


def _people(facts: Summary) -> str:
    shown = disclosed(facts.sexes)
    sexes = _table(("sex", "subjects"), [(_SEXES.get(name, name), count) for name, count in shown.items()])
    content = facts.content
    if content.age_min_years is None or content.age_max_years is None:
        ages = f"The range of ages is not shown: fewer than {MINIMUM_CELL} subjects have one."
    else:
        ages = f"Ages at the studies: {content.age_min_years:g} to {content.age_max_years:g} years."
    return f"{sexes}\n\n{ages} Groups of fewer than {MINIMUM_CELL} subjects are not counted exactly on this page."


def _geometry(extents: Sequence[Extent]) -> str:
    rows = [
        (_text(e.modality), f"{e.volumes:,}", _mm(e.native_in_plane), _mm(e.native_slice), _mm(e.harmonised))
        for e in extents
    ]
    heads = ("modality", "volumes", "pixel size, native", "distance of slices, native", "voxel size, harmonised")
    return _table(heads, rows)


def _making(record: ReleaseRecord, facts: Summary) -> str:
    profiles = _table(("harmonisation profile", "volumes"), [(_text(n), f"{c:,}") for n, c in facts.profiles.items()])
    units = _table(("unit of the native values", "volumes"), [(_text(n), f"{c:,}") for n, c in facts.units.items()])
    software = ", ".join(f"{_text(name)} {_text(version)}" for name, version in sorted(record.software.items()))
    return (
        "Native volumes hold the stored values after the rescale that the header demands, on the grid they were "
        "acquired on; no slice was invented. Harmonised volumes were made from them by the profiles below; the steps "
        "of each volume with all arguments are in the column `steps` and in its `volume.json`.\n\n"
        f"{profiles}\n\n{units}\n\nRecipe `{record.recipe}`. Made with {software}."
    )


def _refused(record: ReleaseRecord) -> str:
    states = record.ledger.by_state
    sums = _table(
        ("files of the provider", "number"),
        [("found", f"{record.ledger.files:,}"), *((state.value, f"{states.get(state, 0):,}") for state in State)],
    )
    if not record.ledger.by_reason:
        return f"{sums}\n\nEvery file became part of a curated volume."
    reasons = sorted(record.ledger.by_reason.items(), key=lambda item: (-item[1], item[0]))
    rows = [(f"`{reason}`", reason.state.value, f"{files:,}", reason.advice) for reason, files in reasons]
    return f"{sums}\n\n{_table(('reason', 'state', 'files', 'what it means'), rows)}"


def _gates(gates: Mapping[str, bytes]) -> str:
    reports = [GateReport.model_validate_json(data) for _, data in sorted(gates.items())]
    rows = [
        (
            report.suite,
            "passed" if report.passed else "refused",
            f"{report.rows:,}",
            str(len(report.expectations)),
            f"{report.quarantined_rows:,}",
            ", ".join(f"`{name}`" for name in report.warnings) or "none",
        )
        for report in reports
    ]
    if not rows:
        return "No gate's verdict is part of this release."
    return _table(("gate", "verdict", "rows", "expectations", "rows quarantined", "warnings"), rows)


def _terms(record: ReleaseRecord) -> str:
    terms = _text(record.access_rights) or "As agreed with the provider."
    return f"{terms}\n\nContact: {_text(record.contact)}" if record.contact else terms


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text from outside as one line of Markdown that opens neither a table cell nor an HTML element."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _mm(limits: tuple[float, float] | None) -> str:
    if limits is None:
        return "not stated"
    low, high = (f"{value:.3g}" for value in limits)
    return f"{low} mm" if low == high else f"{low} to {high} mm"
