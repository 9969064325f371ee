"""The SDK's settings where they are so plain that they can be read without it.

The SDK takes a fifth of a second to load and to make a client, a tenth of what a gigabyte takes. Where the keys, the
region and the endpoint of a server of one's own stand in the environment, and nothing else that the SDK would hear
of is set, they mean what they say. Everything else (profiles, roles, files, proxies, AWS itself) is left to the
SDK; a test holds the two to each other.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: names of the environment that are understood here, or that say nothing of S3
_UNDERSTOOD = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL_S3",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        # of instance roles, of the command-line tools, of other SDKs; the SDK takes no region from AWS_REGION
        "AWS_EC2_METADATA_DISABLED",
        "AWS_PAGER",
        "AWS_DEFAULT_OUTPUT",
        "AWS_REGION",
    }
)
_BUNDLE = "REQUESTS_CA_BUNDLE"
_FILES = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}
_ENDPOINT = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?P<port>[0-9]{1,5}))?/?")
_DEFAULT_PORT = {"http": "80", "https": "443"}
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Keys(NamedTuple):
    """Credentials (`ecogsafe.stores.s3_signing.AccessKeys`)."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return "Keys(hidden)"

    def get_frozen_credentials(self) -> Keys:
        """Return them, as the SDK's credentials do."""
        return self


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """What there is to know of a server of one's own."""

    scheme: str
    #: with the port where one was given
    server: str
    #: the same, but without the port of the scheme
    host: str
    region: str
    keys: Keys


def plain_settings(environment: Mapping[str, str]) -> PlainSettings | None:
    """Return what ``environment`` says, None where the SDK must be asked what it means."""
    if not sys.platform.startswith("linux"):
        # elsewhere the system's own settings name proxies too
        return None
    for name in environment:
        is_sdk = name.startswith(("AWS_", "BOTO_")) and name not in _UNDERSTOOD
        if is_sdk or name == _BUNDLE or name.lower().endswith("_proxy"):
            return None
    access_key = environment.get("AWS_ACCESS_KEY_ID", "")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY", "")
    region = environment.get("AWS_DEFAULT_REGION", "")
    endpoint = _ENDPOINT.fullmatch(environment.get("AWS_ENDPOINT_URL_S3", ""))
    if not access_key or not secret_key or not _REGION.fullmatch(region) or endpoint is None:
        return None
    scheme, host, port = endpoint["scheme"], endpoint["host"], endpoint["port"]
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) or _says_something(environment):
        return None
    server = host if port is None else f"{host}:{int(port)}"
    if port != _DEFAULT_PORT[scheme]:
        host = server
    token = environment.get("AWS_SESSION_TOKEN") or None
    return PlainSettings(scheme, server, host, region, Keys(access_key, secret_key, token))


def _says_something(environment: Mapping[str, str]) -> bool:
    """Return whether one of the SDK's files says, or may say, anything."""
    for variable, name in _FILES.items():
        named = environment.get(variable)
        try:
            file = Path(named).expanduser() if named else Path("~/.aws", name).expanduser()
            if file.stat().st_size:
                return True
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError):
            return True
    return False
