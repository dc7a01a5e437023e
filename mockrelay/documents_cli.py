"""``mockrelay asyncapi`` and ``mockrelay openapi``: the documents without a running relay."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import click

from mockrelay.version_option import version_option

_WS_URL = "ws://127.0.0.1:8765/ws/v1"
_HTTP_URL = "http://127.0.0.1:8766"
_yaml_option = click.option("--yaml", "as_yaml", is_flag=True, help="YAML instead of JSON.")


def _check_url(example: str) -> Any:
    scheme = urlsplit(example).scheme

    def check(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
        try:
            parts = urlsplit(url)
            is_good = parts.scheme in (scheme, f"{scheme}s") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_good = False
        if not is_good:
            raise click.BadParameter(f"{url!r} must be a URL such as {example}")
        return url.rstrip("/")

    return check


def _print(document: dict[str, Any], as_yaml: bool) -> None:
    if not as_yaml:
        from mockrelay.documents.asyncapi import text_of

        click.echo(text_of(document), nl=False)
        return
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    yaml.allow_unicode = True
    yaml.representer.ignore_aliases = lambda _data: True
    yaml.dump(document, sys.stdout)


@click.command(epilog="\b\nExample:\n  mockrelay asyncapi --yaml > zentalk.asyncapi.yaml\n")
@version_option
@click.option(
    "--url", default=_WS_URL, show_default=True, callback=_check_url(_WS_URL), help="Where the relay will be."
)
@_yaml_option
def asyncapi(url: str, as_yaml: bool) -> None:
    """Print the AsyncAPI 3 document of the WebSocket: every frame with its schema and an example."""
    from mockrelay.documents.asyncapi import document

    _print(document(url), as_yaml)


@click.command(epilog="\b\nExample:\n  mockrelay openapi > zentalk.openapi.json\n")
@version_option
@click.option(
    "--url", default=_HTTP_URL, show_default=True, callback=_check_url(_HTTP_URL), help="Where the relay will be."
)
@_yaml_option
def openapi(url: str, as_yaml: bool) -> None:
    """Print the OpenAPI 3.1 document of the app's REST interface and the control API."""
    from mockrelay.documents.openapi import document

    _print(document(url), as_yaml)
