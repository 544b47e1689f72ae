"""Every real file is de-identified or refused with a reason, and nothing that names anybody is in what is written."""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from oncurate import deid
from oncurate.deid import pixels
from oncurate.errors import Rejection
from oncurate.identity import Keys
from oncurate.reasons import Reason

KEYS = Keys(b"s" * 32)
POLICY = deid.DeidPolicy()
TRIMMED = {"MR_small_padded.dcm", "SC_rgb_small_odd_big_endian.dcm", "badVR.dcm"}
"""Files with bytes behind the last pixel, or a padding byte that is not zero."""


@pytest.mark.shared
@pytest.mark.slow
def test_every_real_file(shared_data: Path) -> None:
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for path in sorted(shared_data.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ds = dcmread(io.BytesIO(data))
            except (InvalidDicomError, EOFError):
                continue
            try:
                out, _ = deid.clean_object(ds, KEYS, POLICY, "subject")
            except Rejection as rejection:
                ends[rejection.reason.value] += 1
                continue
            written = deid.write(out)
            ends["written"] += 1
            if deid.verify(written, deid.source_identifiers(dcmread(io.BytesIO(data)), POLICY)):
                wrong.append(f"identifier: {path.name}")
            read = dcmread(io.BytesIO(written))
            assert all(element.VR for element in read.iterall())
            native = read.file_meta.TransferSyntaxUID in pixels.NATIVE and path.name not in TRIMMED
            if native and "PixelData" in read and read.PixelData != ds.PixelData:
                wrong.append(f"pixels: {path.name}")
    assert wrong == []
    assert ends["written"] > 1000
    assert set(ends) - {"written"} <= {reason.value for reason in Reason}
    assert sum(ends.values()) - ends["written"] < 50
