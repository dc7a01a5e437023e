"""By which names and addresses clients reach this machine: for certificates and for what is said at the start."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

CONTAINER_NAMES: Final = ("host.docker.internal", "host.containers.internal", "mockrelay")
"""What Docker and Podman call their host, and the usual name of a container with this relay: profile ``dev`` of
``mockrelay serve`` admits them as Host. No page of the Web can stand behind such a name."""
EMULATOR_ADDRESSES: Final = ("10.0.2.2", "10.0.3.2")
"""The host as the Android emulator and Genymotion see it."""
WILDCARDS: Final = ("", "0.0.0.0", "::")
_PROBES: Final = (
    *((socket.AF_INET, address) for address in ("192.0.2.1", "10.255.255.254", "172.31.255.254", "192.168.255.254")),
    *((socket.AF_INET6, address) for address in ("2001:db8::1", "fd00::1")),
)


def own_addresses() -> list[str]:
    """The addresses of this machine that others would reach it by, loopback and link-local aside, sorted.

    Found without a packet, and without asking a name server, which could take its time: a datagram socket that is
    connected has the address at which the route to its peer begins.
    """
    found: set[str] = set()
    for family, peer in _PROBES:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            found.add(probe.getsockname()[0])
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
    kept = [one for one in addresses if not (one.is_loopback or one.is_link_local or one.is_unspecified)]
    return [str(one) for one in sorted(kept, key=lambda one: (one.version, int(one)))]


def names_of(host: str, admitted: Sequence[str]) -> list[str]:
    """What the certificate of a relay bound to ``host`` is for, ``admitted`` being the Hosts named in its settings.

    Loopback, the emulators' addresses and the containers' names always, since forwarders stand behind them whatever the
    relay is bound to; this machine's addresses where it is bound to all of them.
    """
    bound = own_addresses() if host in WILDCARDS else [host]
    local = ("localhost", "127.0.0.1", "::1")
    return list(dict.fromkeys((*local, *EMULATOR_ADDRESSES, *CONTAINER_NAMES, *admitted, *bound)))
