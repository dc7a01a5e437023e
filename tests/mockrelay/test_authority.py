"""The development certificate authority: kept safely, good for local names alone, accepted by real verifiers."""

from __future__ import annotations

import datetime
import os
import ssl
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from mockrelay import authority as module
from mockrelay.addresses import names_of, own_addresses
from mockrelay.authority import (
    CERTIFICATE_FILE,
    KEY_FILE,
    Authority,
    authority_in,
    default_folder,
    is_covered,
    new_authority,
    utc_now,
)
from mockrelay.cli import cli
from mockrelay.serve_cli import _ca_dir
from mockrelay.settings import read_file
from mockrelay.tls import MAX_ASKED_NAMES, DevelopmentTls, TlsError, context_of

DAY = datetime.timedelta(days=1)
NAMES = ("localhost", "127.0.0.1", "::1", "10.0.2.2", "192.168.1.20", "host.docker.internal", "relay.zentalk.network")


class HandClock:
    """Time that a test moves."""

    def __init__(self, ago: datetime.timedelta = 0 * DAY) -> None:
        self.now = utc_now() - ago

    def __call__(self) -> datetime.datetime:
        return self.now


def shaken(server: ssl.SSLContext, authority: Authority, name: str, *, asked: str | None = None) -> x509.Certificate:
    """A whole TLS handshake in memory: the certificate that a client got who trusts the authority alone.

    ``name`` is what the client wants the certificate to be for. Raises ssl.SSLCertVerificationError.
    """
    client_context = ssl.create_default_context(cafile=authority.cert_file)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=asked or name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, there]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting, "the handshake must end"
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


def names_in(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def forged(authority: Authority, names: Sequence[str]) -> ssl.SSLContext:
    """A server with a certificate that the authority's key did sign."""
    chain, key, _ = authority.issue(names, utc_now())
    return context_of(chain, key)


# --- keeping -----------------------------------------------------------------------------------------


def test_an_authority_must_be_made_once_and_kept_with_its_key_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mockrelay"
    made = authority_in(folder)
    assert authority_in(folder).fingerprint == made.fingerprint
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"mockrelay": 0o700, KEY_FILE: 0o600, CERTIFICATE_FILE: 0o644}, "and nothing temporary is left"
    assert (folder / CERTIFICATE_FILE).read_bytes() == made.certificate_pem
    assert b"PRIVATE" not in made.certificate_pem


def test_of_two_that_begin_at_once_both_must_use_the_same_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Authority] = []

    def slow(folder: Path, now: datetime.datetime) -> Authority:
        monkeypatch.setattr(module, "new_authority", new_authority)
        made = new_authority(folder, now)
        others.append(authority_in(folder))
        return made

    monkeypatch.setattr(module, "new_authority", slow)
    assert authority_in(tmp_path).fingerprint == others[0].fingerprint == authority_in(tmp_path).fingerprint


def test_it_must_be_made_whole_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(_old: str, _new: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert authority_in(tmp_path).fingerprint == authority_in(tmp_path).fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY_FILE, CERTIFICATE_FILE]


def test_a_certificate_that_was_lost_or_changed_must_be_written_again(tmp_path: Path) -> None:
    made = authority_in(tmp_path)
    for change in (lambda path: path.unlink(), lambda path: path.write_text("another")):
        change(tmp_path / CERTIFICATE_FILE)
        authority_in(tmp_path)
        assert (tmp_path / CERTIFICATE_FILE).read_bytes() == made.certificate_pem


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_must_be_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    made = authority_in(tmp_path)
    key_file = tmp_path / KEY_FILE
    key_file.chmod(mode)
    with pytest.raises(TlsError, match=f"{KEY_FILE}: others may use this key .*; chmod 600 {key_file}"):
        authority_in(tmp_path)
    key_file.chmod(0o600)
    assert authority_in(tmp_path).fingerprint == made.fingerprint


def test_a_folder_that_others_may_write_to_must_be_refused_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(TlsError, match=f"{tmp_path}: others may write to it .*; chmod 700 {tmp_path}"):
        authority_in(tmp_path)


def test_a_folder_that_cannot_be_made_must_be_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsError, match=r"file.*: (Not a directory|File exists); --ca-dir names another folder"):
        authority_in(tmp_path / "file" / "mockrelay")


def test_a_disk_that_takes_nothing_must_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TlsError, match=r"No space left on device; --ca-dir"):
        authority_in(tmp_path)


def test_what_is_no_authority_must_be_refused(tmp_path: Path) -> None:
    one, other = authority_in(tmp_path / "one"), authority_in(tmp_path / "other")
    key_file = tmp_path / "one" / KEY_FILE
    key_of_one = key_file.read_bytes().removesuffix(one.certificate_pem)
    unconstrained = (tmp_path / "one" / KEY_FILE).read_bytes().replace(one.certificate_pem, _plain(one))
    for content, said in (
        (b"", "not a key and its certificate"),
        (key_of_one, "not a key and its certificate"),
        (key_of_one + other.certificate_pem, "not that of the certificate"),
        (unconstrained, "without name constraints"),
    ):
        key_file.write_bytes(content)
        with pytest.raises(TlsError, match=f"{KEY_FILE}: .*{said}.*remove it"):
            authority_in(tmp_path / "one")


def _plain(authority: Authority) -> bytes:
    """The authority's certificate without its constraints."""
    old = authority.certificate
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), old.serial_number)
    builder = builder.not_valid_before(old.not_valid_before_utc).not_valid_after(old.not_valid_after_utc)
    made = builder.sign(authority._key, old.signature_hash_algorithm)
    return made.public_bytes(module.serialization.Encoding.PEM)


def test_the_folder_must_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/alice"))
    home = Path("/home/alice/.local/share/mockrelay")
    assert default_folder({}) == home
    assert default_folder({"XDG_DATA_HOME": "relative"}) == home, "the specification has relative ones ignored"
    assert default_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/mockrelay")

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(TlsError, match="--ca-dir"):
        default_folder({})


# --- what it is good for -----------------------------------------------------------------------------


@pytest.mark.requirement("R-12.3")
@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_must_accept_every_name(tmp_path: Path, name: str) -> None:
    tls = DevelopmentTls(lambda: NAMES, str(tmp_path))
    found = shaken(tls.context, tls.authority, name)
    assert names_in(found) == [*(n for n in NAMES if n[-1].isalpha()), *(n for n in NAMES if not n[-1].isalpha())]


def test_a_name_that_the_certificate_is_not_for_must_be_refused(tmp_path: Path) -> None:
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path))
    for name in ("127.0.0.1", "printer.local"):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
            shaken(tls.context, tls.authority, name)


@pytest.mark.parametrize("name", ["evil.example", "zentalk.network", "notlocalhost", "203.0.113.7", "2001:db8::7"])
def test_a_verifier_must_refuse_a_certificate_for_any_other_name(tmp_path: Path, name: str) -> None:
    authority = authority_in(tmp_path)
    assert not is_covered(name)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shaken(forged(authority, [name]), authority, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shaken(forged(authority, ["localhost", name]), authority, "localhost")


@pytest.mark.parametrize("name", ["a.b.localhost", "phone.local", "x.test", "172.31.0.1", "fe80::1", "fd12::7"])
def test_local_names_must_be_covered_by_the_constraints(tmp_path: Path, name: str) -> None:
    authority = authority_in(tmp_path)
    assert is_covered(name)
    shaken(forged(authority, [name]), authority, name)


def test_no_certificate_may_sign_another(tmp_path: Path) -> None:
    """Path length 0: a server's key, got hold of, signs nothing that a client takes."""
    authority = authority_in(tmp_path)
    chain, key_pem, _ = authority.issue(["localhost"], utc_now())
    key = module.serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, module.ec.EllipticCurvePrivateKey)
    false = Authority(key, x509.load_pem_x509_certificate(chain), tmp_path)
    false_chain, false_key, _ = false.issue(["localhost"], utc_now())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"invalid CA|path length"):
        shaken(context_of(false_chain, false_key), authority, "localhost")


def test_the_certificates_must_have_the_form_that_phones_accept(tmp_path: Path) -> None:
    """Apple's requirements for TLS server certificates; P-256, which iOS and Android have in hardware."""
    authority = authority_in(tmp_path)
    leaf = x509.load_pem_x509_certificate(authority.issue(["localhost"], utc_now())[0])
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= 397 * DAY
    for certificate in (leaf, authority.certificate):
        key = certificate.public_key()
        assert isinstance(key, module.ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, module.ec.SECP256R1)
        critical = {type(one.value) for one in certificate.extensions if one.critical}
        assert {x509.BasicConstraints, x509.KeyUsage} <= critical
    assert x509.NameConstraints in {type(one.value) for one in authority.certificate.extensions if one.critical}
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [module.ExtendedKeyUsageOID.SERVER_AUTH]


# --- certificates as they are needed -----------------------------------------------------------------


def test_a_certificate_must_be_renewed_before_it_runs_out(tmp_path: Path) -> None:
    clock = HandClock(ago=370 * DAY)
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path), now=clock)
    first = shaken(tls.context, tls.authority, "localhost")
    clock.now += 360 * DAY
    assert shaken(tls.context, tls.authority, "localhost").serial_number == first.serial_number
    clock.now += 10 * DAY
    renewed = shaken(tls.context, tls.authority, "localhost")
    assert renewed.not_valid_after_utc - clock.now > 300 * DAY
    assert shaken(tls.context, tls.authority, "localhost").serial_number == renewed.serial_number, "once is enough"


def test_a_certificate_may_not_outlive_its_authority_which_is_refused_at_its_end(tmp_path: Path) -> None:
    clock = HandClock(ago=(module.AUTHORITY_DAYS - 100) * DAY)
    ends = authority_in(tmp_path, clock).certificate.not_valid_after_utc
    clock.now = utc_now()
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path), now=clock)
    assert shaken(tls.context, tls.authority, "localhost").not_valid_after_utc == ends
    clock.now = ends
    with pytest.raises(TlsError, match=f"ran out on .*; remove {tmp_path}"):
        authority_in(tmp_path, clock)


def test_the_certificate_must_follow_the_addresses_of_the_machine(tmp_path: Path) -> None:
    clock, addresses = HandClock(), ["192.168.1.20"]
    tls = DevelopmentTls(lambda: addresses, str(tmp_path), now=clock)
    shaken(tls.context, tls.authority, "192.168.1.20")
    addresses[:] = ["10.20.30.40"]
    clock.now += datetime.timedelta(seconds=31)
    assert names_in(shaken(tls.context, tls.authority, "10.20.30.40")) == ["10.20.30.40"]


def test_an_admitted_name_that_a_client_asks_for_must_get_into_the_certificate(tmp_path: Path) -> None:
    admitted = {"app.localhost", "evil.example"}
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path), is_admitted=admitted.__contains__)
    assert names_in(shaken(tls.context, tls.authority, "App.localhost")) == ["localhost", "app.localhost"]
    for name in ("other.localhost", "evil.example"):
        with pytest.raises(ssl.SSLCertVerificationError):
            shaken(tls.context, tls.authority, name)
    assert names_in(shaken(tls.context, tls.authority, "localhost")) == ["localhost", "app.localhost"]


def test_names_that_clients_ask_for_must_be_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mockrelay.tls.MAX_ASKED_NAMES", 3)
    assert MAX_ASKED_NAMES == 100
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path), is_admitted=lambda name: True)
    for number in range(3):
        shaken(tls.context, tls.authority, f"n{number}.localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shaken(tls.context, tls.authority, "n3.localhost")


def test_a_renewal_that_fails_must_leave_the_certificate_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock(ago=370 * DAY)
    tls = DevelopmentTls(lambda: ("localhost",), str(tmp_path / "ca"), now=clock)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    clock.now += 370 * DAY
    before = shaken(tls.context, tls.authority, "localhost")
    assert "not renewed" in caplog.text
    assert "TMPDIR" in caplog.text
    (tmp_path / "gone").mkdir()
    clock.now += datetime.timedelta(minutes=1)
    assert shaken(tls.context, tls.authority, "localhost").serial_number != before.serial_number


def test_a_name_that_is_not_covered_must_be_told_and_must_not_spoil_the_others(tmp_path: Path) -> None:
    tls = DevelopmentTls(lambda: ("localhost", "relay.example.com", "203.0.113.7"), str(tmp_path))
    assert tls.uncovered() == ["relay.example.com", "203.0.113.7"]
    assert names_in(shaken(tls.context, tls.authority, "localhost")) == ["localhost"]


def test_no_key_may_stay_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tls = DevelopmentTls(lambda: ("localhost",))
    assert [path.name for path in tmp_path.iterdir()] == [tls.authority.folder.name], "the authority's own folder"
    tls.close()
    assert list(tmp_path.iterdir()) == [], "an authority of the relay's own goes with it"


def test_a_relay_bound_to_all_addresses_must_be_certified_for_those_of_the_machine() -> None:
    assert set(own_addresses()) <= set(names_of("0.0.0.0", []))
    assert {"localhost", "127.0.0.1", "::1", "10.0.2.2", "host.docker.internal"} <= set(names_of("127.0.0.1", []))
    assert names_of("192.168.1.20", ["a.test"])[-2:] == ["a.test", "192.168.1.20"]
    assert not any(address.startswith(("127.", "fe80")) for address in own_addresses())


# --- the command -------------------------------------------------------------------------------------


def test_the_command_must_print_the_path_and_how_to_trust_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "ca")
    path = CliRunner().invoke(cli, ["ca", "path", "--ca-dir", folder])
    assert path.exit_code == 0, path.output
    assert path.stdout == f"{folder}/{CERTIFICATE_FILE}\n"
    shown = CliRunner().invoke(cli, ["ca", "show"], env={"MOCKRELAY_CA_DIR": folder})
    assert shown.exit_code == 0, shown.output
    digits = authority_in(Path(folder)).fingerprint.upper()
    assert digits in "".join(shown.stdout.split()).replace(":", "")
    for word in ("simctl", "res/raw", "Firefox", "certutil", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "10.0.0.0/8"):
        assert word in shown.stdout
    assert "PRIVATE KEY" not in shown.stdout


def test_the_command_must_say_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["ca", "path"], ["serve", "--port", "0", "--http-port", "0", "--tls"]):
        result = CliRunner().invoke(cli, [*arguments, "--ca-dir", str(tmp_path / "file" / "ca")])
        assert result.exit_code == 2, result.output
        assert "--ca-dir names another folder" in result.output
        assert "Traceback" not in result.output


def test_the_folder_may_be_set_by_flag_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert _ca_dir({"tls": True, "tls_cert": None, "ca_dir": None}) == str(tmp_path / "mockrelay")
    assert _ca_dir({"tls": True, "tls_cert": None, "ca_dir": "/ca"}) == "/ca"
    for needless in (
        {"tls": False, "tls_cert": None, "ca_dir": "/ca"},
        {"tls": True, "tls_cert": "c", "ca_dir": "/ca"},
    ):
        assert _ca_dir(needless) is None
    (tmp_path / "relay.yaml").write_text("tls: true\nca_dir: authority\n")
    assert read_file(str(tmp_path / "relay.yaml")).flags["ca_dir"] == str(tmp_path / "authority")
