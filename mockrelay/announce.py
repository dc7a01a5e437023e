"""What ``mockrelay serve`` says at its start: where it is reached, who is there, what deviates from ``spec``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mockrelay.server import MockRelay
    from zentalk_sim.protocol.config import RelayConfig

_TOLD: Final = ("upgrade.profile", "upgrade.hosts", "upgrade.origins")


def deviations(config: RelayConfig) -> list[str]:
    """What a configuration does otherwise than profile ``spec``, a line each (R-3.5)."""
    import msgspec

    from mockrelay.addresses import CONTAINER_NAMES
    from zentalk_sim.protocol.config import RelayConfig, UpgradeConfig

    standard = UpgradeConfig()
    upgrade = config.upgrade
    lines: list[str] = []
    if upgrade.profile == "dev":
        lines += [
            ", ".join(
                ("Host may be localhost", "*.localhost", *(name for name in CONTAINER_NAMES if name in upgrade.hosts))
            )
            + " or any IP literal",
            "Origin may be http(s):// on localhost, *.localhost, 127.0.0.1 or [::1], any port",
            "limits per IP are off for loopback and private addresses",
            "POST /api/token registers an unknown identity",
        ]
    told = (*standard.hosts, *(CONTAINER_NAMES if upgrade.profile == "dev" else ()))
    lines += [f"Host {name} is admitted (--allow-host)" for name in upgrade.hosts if name not in told]
    lines += [f"Origin {name} is admitted (--allow-origin)" for name in upgrade.origins if name not in standard.origins]
    return lines + _changed(msgspec.to_builtins(RelayConfig()), msgspec.to_builtins(config))


def _changed(standard: dict[str, Any], found: dict[str, Any], place: str = "") -> list[str]:
    """Settings that are not the specification's, but for the upgrade's, which are told in words."""
    lines: list[str] = []
    for name, value in found.items():
        path, before = f"{place}.{name}" if place else name, standard[name]
        if path in _TOLD or value == before:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and set(value) == set(before):
            lines += _changed(before, value, path)
        else:
            lines.append(f"{path} is {_shown(value)} (specified: {_shown(before)})")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {part}" for name, part in value.items() if part is not None) + "}"
    return str(value)


def start_text(relay: MockRelay) -> str:
    """The start message for people."""
    from mockrelay.http.inspector_routes import inspector_url

    lines = [
        "mockrelay is ready; Ctrl-C stops it.",
        "",
        f"  WebSocket    {relay.ws_url}",
        f"  REST         {relay.http_url}/api",
        f"  Admin token  {relay.admin_token}",
        f"  Inspector    {inspector_url(relay.http_url, relay.admin_token)}",
    ]
    if relay.development_tls is not None:
        lines += [
            f"  Authority    {relay.development_tls.cert_file}",
            "               (for clients to trust, once; `mockrelay ca show` says how)",
        ]
    if relay.options.record is not None:
        lines.append(f"  Recording    {relay.options.record} (holds keys and tokens)")
    for user in relay.users:
        lines += [
            "",
            f"  {user.name}",
            f"    address    {user.address}",
            f"    device     {user.device_id}",
            f"    connect    {relay.url_of(user)}",
        ]
    from zentalk_sim.protocol.upgrade import host_admitted, host_name

    host = relay.ws_url.split("/")[2]
    if not host_admitted(host, relay.options.config.upgrade):
        name = host_name(host)
        lines += ["", f"  This profile does not admit the Host {name} of these URLs; --allow-host {name} would."]
    if not relay.users:
        lines += ["", "  No users yet: --user NAME registers one."]
    return "\n".join(lines)
