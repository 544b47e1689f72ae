"""Certificates for tests of TLS, made with the openssl program: an authority, a server's for localhost, a stranger.

Belongs here: making them. Does not belong here: assertions.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.pacs import missing


@dataclass(frozen=True)
class Certificates:
    """PEM files: `ca` vouches for `cert` (localhost, 127.0.0.1) with its `key`; `other_ca` for nobody."""

    ca: Path
    cert: Path
    key: Path
    other_ca: Path

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows `cert`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client_context(self, *, shows: bool = False) -> ssl.SSLContext:
        """For a client that trusts `ca`; it shows `cert` if asked to."""
        context = ssl.create_default_context(cafile=self.ca)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # ours have no key identifiers, as those of many sites
        if shows:
            context.load_cert_chain(self.cert, self.key)
        return context


def certificates_in(folder: Path) -> Certificates:
    """Certificates that are valid for a day."""
    if shutil.which("openssl") is None:
        missing("no openssl program here: install Debian's openssl")
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                 "-subj", f"/CN=made {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
             "-keyout", "server.key", "-out", "server.csr")  # fmt: skip
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", "1", "-extfile", "names", "-out", "server.pem")  # fmt: skip
    return Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key", folder / "other.pem")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
