"""``mockrelay ca``: the development certificate authority, where it is and how devices come to trust it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mockrelay.version_option import version_option

if TYPE_CHECKING:
    from mockrelay.authority import Authority

_TRUST = """\
How clients come to trust it, FILE being the path above (details: docs/tls.md):
  iOS simulator     xcrun simctl keychain booted add-root-cert FILE
  iPhone            send it FILE, install the profile, then Settings, General, About, Certificate Trust Settings
  Android app       FILE as res/raw/mockrelay.pem, and in the debug build's network security configuration
                    <debug-overrides><trust-anchors><certificates src="@raw/mockrelay"/>
                    </trust-anchors></debug-overrides>
  Chrome on Linux   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n mockrelay -i FILE
  Chrome, Safari    macOS: security add-trusted-cert -k ~/Library/Keychains/login.keychain-db FILE
                    Windows: certutil -user -addstore Root FILE
  Firefox           Settings, Privacy & Security, View Certificates, Authorities, Import
  Node              NODE_EXTRA_CA_CERTS=FILE node app.js
  Python            SSL_CERT_FILE=FILE python app.py, or ssl.create_default_context(cafile="FILE")
  curl              curl --cacert FILE https://localhost:8766/health"""


def ca_folder(chosen: str | None) -> str:
    """The authority's folder: the one chosen, or the user's default one. Raises TlsError."""
    from mockrelay.authority import default_folder

    return chosen or str(default_folder(os.environ))


ca_dir_option = click.option(
    "--ca-dir",
    envvar="MOCKRELAY_CA_DIR",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where the development authority is kept (default: mockrelay in the user's data folder).",
)


@click.group(
    epilog="""\b
Examples:
  mockrelay ca show
  NODE_EXTRA_CA_CERTS="$(mockrelay ca path)" node app.js
""",
)
@version_option
def ca() -> None:
    """The development certificate authority that signs for `mockrelay serve --tls`.

    It is made when it is first needed, and lasts: trust it once per device.
    """


def _authority(folder: str | None) -> Authority:
    from pathlib import Path

    from mockrelay.authority import authority_in
    from mockrelay.tls import TlsError

    try:
        return authority_in(Path(ca_folder(folder)))
    except TlsError as error:
        click.echo(f"mockrelay: {error}", err=True)
        sys.exit(2)


@ca.command(epilog='\b\nExample:\n  curl --cacert "$(mockrelay ca path)" https://localhost:8766/health\n')
@version_option
@ca_dir_option
def path(ca_dir: str | None) -> None:
    """Print the path of the authority's certificate, for clients to trust."""
    click.echo(_authority(ca_dir).cert_file)


@ca.command(epilog="\b\nExample:\n  mockrelay ca show\n")
@version_option
@ca_dir_option
def show(ca_dir: str | None) -> None:
    """Print where the authority is, its fingerprint, what it may sign for, and how clients come to trust it."""
    from mockrelay.authority import PERMITTED_NAMES
    from zentalk_sim.protocol.upgrade import LOCAL_NETWORKS

    authority = _authority(ca_dir)
    certificate = authority.certificate
    digits = authority.fingerprint.upper()
    pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
    click.echo(f"Certificate   {authority.cert_file}")
    click.echo(f"Name          {certificate.subject.rfc4514_string().removeprefix('CN=')}")
    click.echo(f"SHA-256       {':'.join(pairs[:16])}:")
    click.echo(f"              {':'.join(pairs[16:])}")
    click.echo(f"Valid until   {certificate.not_valid_after_utc:%Y-%m-%d}")
    click.echo(f"Signs for     {', '.join(PERMITTED_NAMES[:3])} and all names below them,")
    click.echo(f"              {', '.join(PERMITTED_NAMES[3:])},")
    click.echo(f"              {', '.join(str(network) for network in LOCAL_NETWORKS[:4])},")
    click.echo(f"              {', '.join(str(network) for network in LOCAL_NETWORKS[4:])}")
    click.echo("              and nothing else (critical name constraints)")
    click.echo()
    click.echo(_TRUST)
