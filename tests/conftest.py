"""Fixtures of all rooms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.azurite import AzuriteServer, azurite_program
from tests.servers.seaweed import SeaweedServer


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A real S3 server on loopback, started when the first test asks for it."""
    server = SeaweedServer(tmp_path_factory.mktemp("seaweed"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """A real Azure server on loopback, started when the first test asks for it."""
    server = AzuriteServer(tmp_path_factory.mktemp("azurite"), azurite_program())
    try:
        server.start()
        yield server
    finally:
        server.stop()
