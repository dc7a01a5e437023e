"""TLS as the specification has it: version 1.3 alone and its three cipher suites (R-12.3).

Without certificate files a self-signed development certificate is made for the names the relay is bound to.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

CIPHER_SUITES: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
_DAYS: Final = 30


class TlsError(Exception):
    """Certificate files that cannot be used; the message names the file."""


def server_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """A context for TLS 1.3 with the specification's suites. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
    offered = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    if offered != set(CIPHER_SUITES):
        raise TlsError(f"this OpenSSL offers {', '.join(sorted(offered))} for TLS 1.3, not the specification's suites")
    for path in (cert_file, key_file):
        if not os.path.isfile(path):
            raise TlsError(f"{path}: no such file")
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        raise TlsError(f"{cert_file}, {key_file}: not a certificate and its key in PEM ({error.reason})") from None
    except OSError as error:
        raise TlsError(f"{error.filename or cert_file}: {error.strerror}") from None
    return context


def development_certificate(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Certificate and key in PEM, self-signed for these names and addresses, good for 30 days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mockrelay development certificate")])
    alternatives: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(hours=1))
        .not_valid_after(today + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


class DevelopmentTls:
    """A development certificate in a folder of its own, which ``close`` removes; its key never stays on disk."""

    def __init__(self, names: Sequence[str]) -> None:
        cert, key = development_certificate(names)
        self._folder = tempfile.TemporaryDirectory(prefix="mockrelay-tls-")
        self.cert_file = os.path.join(self._folder.name, "certificate.pem")
        """For clients to trust."""
        self.fingerprint = sha256(ssl.PEM_cert_to_DER_cert(cert.decode())).hexdigest()
        key_file = os.path.join(self._folder.name, "key.pem")
        with open(self.cert_file, "wb") as file:
            file.write(cert)
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        try:
            self.context = server_context(self.cert_file, key_file)
        except BaseException:
            self._folder.cleanup()
            raise
        os.unlink(key_file)

    def close(self) -> None:
        """Remove the certificate."""
        self._folder.cleanup()
