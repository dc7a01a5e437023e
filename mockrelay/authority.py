"""The development certificate authority: made once, kept in a folder, trusted by a developer's devices.

The law of this file: what is trusted on somebody's phone must not be good for anything but development. The authority's
certificate has critical name constraints (RFC 5280 §4.2.1.10): local names, loopback, private and link-local addresses,
and ``relay.zentalk.network``. Its key lies in one file together with its certificate, readable by its owner alone,
and comes into being by one atomic step, so that of two processes that start at once both use the same authority.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mockrelay.addresses import CONTAINER_NAMES
from mockrelay.tls import Now, TlsError, utc_now
from zentalk_sim.protocol.upgrade import LOCAL_NETWORKS

CERTIFICATE_FILE: Final = "ca.pem"
"""For clients to trust."""
KEY_FILE: Final = "ca-key.pem"
"""The private key and, behind it, the certificate; secret."""
PERMITTED_NAMES: Final = (
    *("localhost", "local", "test"),
    *CONTAINER_NAMES,
    "relay.zentalk.network",
)
"""Each with all names below it: RFC 6761, RFC 6762, what containers call their host, the usual name of a container
with this relay, and the specification's Host."""
AUTHORITY_DAYS: Final = 3650
LEAF_DAYS: Final = 396
"""From its making; with the day it is dated back, 397 (CA/Browser Forum Baseline Requirements §6.3.2: at most 398)."""
_BACKDATED: Final = datetime.timedelta(days=1)
"""A phone's clock may be behind."""


def default_folder(environ: Mapping[str, str]) -> Path:
    """``mockrelay`` in the user's data folder (XDG Base Directory Specification). Raises TlsError."""
    data = environ.get("XDG_DATA_HOME") or (environ.get("LOCALAPPDATA") if os.name == "nt" else None) or ""
    if os.path.isabs(data):
        return Path(data, "mockrelay")
    try:
        return Path.home() / ".local" / "share" / "mockrelay"
    except RuntimeError:
        raise TlsError("there is no home folder to keep the development authority in; name one by --ca-dir") from None


def is_covered(name: str) -> bool:
    """Whether the authority may vouch for a DNS name or an address."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        lower = name.lower()
        return lower.isascii() and any(lower == one or lower.endswith(f".{one}") for one in PERMITTED_NAMES)
    return any(address in network for network in LOCAL_NETWORKS)


class Authority:
    """A certificate authority with its key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, folder: Path) -> None:
        self._key = key
        self.certificate = certificate
        self.folder = folder

    @property
    def cert_file(self) -> str:
        """The certificate in PEM, for clients to trust."""
        return str(self.folder / CERTIFICATE_FILE)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in DER, in hex digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: Sequence[str], now: datetime.datetime) -> tuple[bytes, bytes, datetime.datetime]:
        """A server's certificate for names that are all covered: chain and key in PEM, and when it runs out."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends = min(now + datetime.timedelta(days=LEAF_DAYS), self.certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mockrelay development server")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_key_identifier(self._key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self.certificate_pem
        return chain, _key_pem(key), ends


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.lower())


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _constraints() -> x509.NameConstraints:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in PERMITTED_NAMES]
    addresses: list[x509.GeneralName] = [x509.IPAddress(network) for network in LOCAL_NETWORKS]
    return x509.NameConstraints(permitted_subtrees=names + addresses, excluded_subtrees=None)


def new_authority(folder: Path, now: datetime.datetime) -> Authority:
    """A fresh authority, not kept anywhere yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: among several of them a verifier, and a person in a list of settings, finds the right one.
    name = f"mockrelay development authority {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(_constraints(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_identifier(key), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate, folder)


def authority_in(folder: Path, now: Now = utc_now) -> Authority:
    """The authority kept in a folder, made where there is none. Raises TlsError."""
    _make_folder(folder)
    key_file = folder / KEY_FILE
    try:
        if not key_file.exists():
            made = new_authority(folder, now())
            _write_new(key_file, _key_pem(made._key) + made.certificate_pem)
        # What is in the file counts, whoever made it.
        authority = _read(key_file)
        if _content(folder / CERTIFICATE_FILE) != authority.certificate_pem:
            _replace(folder / CERTIFICATE_FILE, authority.certificate_pem)
    except OSError as error:
        place = error.filename or folder
        raise TlsError(f"{place}: {error.strerror}; --ca-dir names another folder for the authority") from None
    ends = authority.certificate.not_valid_after_utc
    if ends - now() < datetime.timedelta(days=1):
        raise TlsError(f"{key_file}: ran out on {ends:%Y-%m-%d}; remove {folder}, and trust the new one made then")
    return authority


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror}; --ca-dir names another folder for the authority"
        raise TlsError(message) from None
    if os.name == "posix" and found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise TlsError(f"{folder}: others may write to it (mode {mode:04o}); chmod 700 {folder}")


def _read(key_file: Path) -> Authority:
    with key_file.open("rb") as file:
        found = os.fstat(file.fileno())
        if os.name == "posix" and found.st_mode & 0o077:
            raise TlsError(
                f"{key_file}: others may use this key (mode {stat.S_IMODE(found.st_mode):04o}); chmod 600 {key_file}, "
                f"or, if somebody else may have read it, remove {key_file.parent} and trust the new authority"
            )
        content = file.read()
    try:
        key = serialization.load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
    except (ValueError, TypeError):
        raise TlsError(f"{key_file}: not a key and its certificate in PEM; remove it, and a new one is made") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise TlsError(f"{key_file}: the key is not that of the certificate; remove it, and a new one is made")
    if not any(extension.critical for extension in certificate.extensions if _is_constraint(extension)):
        raise TlsError(f"{key_file}: an authority without name constraints is not used; remove it")
    return Authority(key, certificate, key_file.parent)


def _is_constraint(extension: x509.Extension[x509.ExtensionType]) -> bool:
    return isinstance(extension.value, x509.NameConstraints)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _temporary(path: Path, content: bytes) -> str:
    """A whole file beside ``path``, of mode 0600, on the disk."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return name


def _write_new(path: Path, content: bytes) -> None:
    """The file whole or not at all, unless somebody else was first."""
    name = _temporary(path, content)
    try:
        # A link fails where the name is taken, which a rename would not.
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    except OSError:
        # A file system without hard links.
        if not path.exists():
            os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _replace(path: Path, content: bytes) -> None:
    name = _temporary(path, content)
    try:
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
