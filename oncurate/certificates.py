"""TLS between servers and us: whom we trust, what we show, and what is wrong with a certificate.

Belongs here: exactly that, for every protocol. Does not belong here: connections (each source and store).
"""

from __future__ import annotations

import re
import ssl
from typing import Any

from oncurate.errors import UsageError

_HANDSHAKE_S = 30.0
_REFUSED = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE)")  # the last: TLS 1.2, where we show none
_WHY = {  # X509_V_ERR_... of OpenSSL's x509_vfy.h
    9: "is not valid yet",
    10: "has expired",
    62: "is for another host",
    64: "is for another address",
}


def client_tls(ca_file: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """Verifies the server's chain, dates and name; trusts `ca_file` alone where it is given.

    Leaves out the checks that Python adds from 3.13 on, of extensions that sites' own authorities leave out as well.
    Raises `UsageError`.
    """
    context = ssl.create_default_context() if ca_file is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca_file:
        _trust(context, ca_file)
    if cert:
        _show(context, cert, key)
    return context


def server_tls(cert: str, key: str | None, ca_file: str | None) -> ssl.SSLContext:
    """Of a receiver; with `ca_file` senders must show a certificate that it vouches for. Raises `UsageError`."""
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # BCP 195, as the profiles of DICOM PS3.15 B.12 ask
    _show(context, cert, key)
    if ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, ca_file)
    return context


def complaint(error: BaseException | None, trusted: str = "pull.ca_file") -> str | None:
    """What is wrong with whose certificate, where that is what an error of a connection comes from; else None.

    `trusted` is the setting that says whom we trust.
    """
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) and hasattr(error, "verify_code"):  # aiohttp's own has none
            why = _WHY.get(error.verify_code, "no authority that we trust vouches for")
            return f"shows a certificate that {why}; check it, and {trusted}"
        if isinstance(error, ssl.SSLError) and _REFUSED.search(getattr(error, "reason", None) or ""):
            return "does not accept the certificate that we show, or wants one; check pull.client_cert"
        error = error.__cause__ or error.__context__
    return None


class _LateHandshake(ssl.SSLContext):
    """Handshakes in the association's own thread and in bounded time, so that a silent caller does not block others."""

    def wrap_socket(self, sock: Any, server_side: bool = False, **kwargs: Any) -> ssl.SSLSocket:
        sock.settimeout(_HANDSHAKE_S)
        return super().wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False, **kwargs)


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError):
        raise UsageError(f"no certificate authorities can be read from {ca_file}") from None


def _show(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError):
        raise UsageError(f"no TLS certificate and key can be read from {cert} and {key or cert}") from None
