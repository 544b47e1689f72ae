"""What is said of a certificate, and which checks are ours on every Python."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from oncurate.certificates import client_tls, complaint
from oncurate.errors import UsageError


def refused(code: int) -> Exception:
    """An error as a client raises it, further and further from its cause."""
    cause = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    cause.verify_code = code
    try:
        try:
            raise cause
        except ssl.SSLError as error:
            raise ConnectionError from error
    except ConnectionError as error:
        return error


@pytest.mark.parametrize(
    ("code", "why"),
    [(10, "has expired"), (9, "not valid yet"), (62, "another host"), (20, "no authority")],
)
def test_what_is_wrong_with_a_certificate_is_said(code: int, why: str) -> None:
    assert why in str(complaint(refused(code)))


@pytest.mark.parametrize(
    ("reason", "is_ours"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", True),
        ("TLSV1_ALERT_UNKNOWN_CA", True),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", True),
        ("TLSV1_ALERT_INTERNAL_ERROR", False),
        (None, False),
    ],
)
def test_a_server_that_refuses_our_certificate_is_told_from_one_in_trouble(reason: str | None, is_ours: bool) -> None:
    error = ssl.SSLError(1, "made")
    error.reason = reason
    assert ("pull.client_cert" in (complaint(error) or "")) is is_ours


def test_other_errors_are_no_certificates() -> None:
    assert complaint(ConnectionResetError()) is None
    assert complaint(ssl.SSLEOFError(8, "EOF occurred")) is None
    assert complaint(None) is None


def test_names_dates_and_chains_are_verified_and_what_only_newer_pythons_ask_for_is_not() -> None:
    context = client_tls(None, None, None)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.cert_store_stats()["x509_ca"]


def test_files_that_are_not_there_are_said(tmp_path: Path) -> None:
    none = str(tmp_path / "none.pem")
    for files in ((none, None, None), (None, none, None)):
        with pytest.raises(UsageError, match=r"none\.pem"):
            client_tls(*files)
