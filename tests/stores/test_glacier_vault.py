"""Old vaults: jobs, ranges and what goes wrong with them, against a stand-in whose answers botocore parses."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

from ecogsafe.core.errors import (
    EcogsafeError,
    InterruptedRunError,
    ObjectMissingError,
    StillColdError,
    StoreBusyError,
    StoreRefusedError,
    StoreUnreachableError,
    UsageError,
)
from ecogsafe.crypt.tree_hash import LEAF_BYTES as MIB
from ecogsafe.crypt.tree_hash import tree_hash
from ecogsafe.service.connections import one_url
from ecogsafe.stores.glacier_vault import GlacierVault, open_vault
from ecogsafe.stores.open import open_store
from ecogsafe.stores.retrying import Backoff, Wait
from tests.servers.vault import VaultServer, tree

NAME = "old-recordings"
BODY = random.Random(5).randbytes(5 * MIB + 100)
QUICK = Backoff(attempts=3, first_s=0.001, longest_s=0.001)


@pytest.fixture
def server() -> Iterator[VaultServer]:
    with VaultServer() as server, mock.patch.dict(os.environ, server.environment):
        server.add_vault(NAME)
        yield server


@pytest.fixture
def vault(server: VaultServer) -> Iterator[GlacierVault]:
    vault = open_vault(f"glacier://{NAME}", backoff=QUICK)
    yield vault
    vault.close()


@pytest.fixture
def client(server: VaultServer) -> Iterator[Any]:
    client = boto3.client("glacier")
    yield client
    client.close()


def read(vault: GlacierVault, job: str, start: int, stop: int) -> tuple[bytes, str | None, int]:
    output = vault.output(job, start, stop)
    return b"".join(output.body), output.tree_hash, output.size


def retrieved(server: VaultServer, vault: GlacierVault, **wish: Any) -> str:
    """Return a job of an archive whose output is ready."""
    archive = server.add_archive(NAME, BODY, "x")
    job = vault.start_retrieval(archive, "word", tier="Standard", **wish)
    server.advance(hours=5)
    return job


# the stand-in itself


def test_the_stand_in_takes_an_archive_in_parts_and_refuses_what_the_service_refuses(client: Any) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        client.initiate_multipart_upload(vaultName=NAME, partSize=str(3 * MIB))
    upload = client.initiate_multipart_upload(vaultName=NAME, partSize=str(2 * MIB), archiveDescription="d")["uploadId"]
    parts = [(at, BODY[at : at + 2 * MIB]) for at in range(0, len(BODY), 2 * MIB)]
    for at, part in parts:
        told = client.upload_multipart_part(
            vaultName=NAME, uploadId=upload, body=part, range=f"bytes {at}-{at + len(part) - 1}/*"
        )
        assert told["checksum"] == tree_hash(part)
    for wrong in ({"checksum": "0" * 64}, {"range": "bytes 1-2097152/*"}):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            client.upload_multipart_part(
                **{"vaultName": NAME, "uploadId": upload, "body": parts[0][1], "range": "bytes 0-2097151/*", **wrong}
            )
    page = client.list_parts(vaultName=NAME, uploadId=upload, limit="2")
    rest = client.list_parts(vaultName=NAME, uploadId=upload, marker=page["Marker"])
    assert [p["RangeInBytes"] for p in page["Parts"] + rest["Parts"]] == [
        "0-2097151",
        "2097152-4194303",
        "4194304-5242979",
    ]
    assert [u["MultipartUploadId"] for u in client.list_multipart_uploads(vaultName=NAME)["UploadsList"]] == [upload]
    whole: dict[str, Any] = {"vaultName": NAME, "uploadId": upload, "archiveSize": str(len(BODY))}
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        client.complete_multipart_upload(**whole, checksum="0" * 64)
    done = client.complete_multipart_upload(**whole, checksum=tree_hash(BODY))
    assert done["checksum"] == tree_hash(BODY) == tree(BODY)
    assert client.list_multipart_uploads(vaultName=NAME)["UploadsList"] == []


def test_the_stand_in_forgets_uploads_and_checks_signatures(server: VaultServer, client: Any) -> None:
    upload = client.initiate_multipart_upload(vaultName=NAME, partSize=str(MIB))["uploadId"]
    server.advance(hours=25)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.list_parts(vaultName=NAME, uploadId=upload)
    stranger = boto3.client(
        "glacier", aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x"
    )
    with pytest.raises(ClientError, match="InvalidSignature"):
        stranger.describe_vault(vaultName=NAME)
    stranger.close()
    assert client.upload_archive(vaultName=NAME, body=b"a" * 10)["checksum"] == tree_hash(b"a" * 10)


def test_the_stand_in_answers_in_the_words_of_the_sdk_s_model(server: VaultServer, client: Any) -> None:
    client.upload_archive(vaultName=NAME, body=b"a")
    server.advance(hours=25)
    upload = client.initiate_multipart_upload(vaultName=NAME, partSize=str(MIB))["uploadId"]
    client.upload_multipart_part(vaultName=NAME, uploadId=upload, body=b"b", range="bytes 0-0/*")
    job = client.initiate_job(vaultName=NAME, jobParameters={"Type": "inventory-retrieval"})["jobId"]
    archive = next(iter(server.vaults[NAME].archives))
    client.initiate_job(vaultName=NAME, jobParameters={"Type": "archive-retrieval", "ArchiveId": archive})
    server.advance(hours=5)
    answers: list[dict[str, Any]] = []
    real = server.answer

    def noted(asked: Any) -> Any:
        reply = real(asked)
        answers.append(json.loads(reply.body))
        return reply

    with mock.patch.object(server, "answer", noted):
        client.describe_vault(vaultName=NAME)
        client.describe_job(vaultName=NAME, jobId=job)
        client.list_jobs(vaultName=NAME)
        client.list_parts(vaultName=NAME, uploadId=upload)
        client.list_multipart_uploads(vaultName=NAME)
    names = ("DescribeVault", "DescribeJob", "ListJobs", "ListParts", "ListMultipartUploads")
    for name, answer in zip(names, answers, strict=True):
        shape = client.meta.service_model.operation_model(name).output_shape
        assert unknown(answer, shape) == [], name
        assert unknown({**answer, "Colour": 1}, shape) == ["Colour"]


def unknown(told: Any, shape: Any) -> list[str]:
    """Return the names in an answer that the SDK's model does not have."""
    if shape.type_name == "list":
        return [name for each in told for name in unknown(each, shape.member)]
    if shape.type_name != "structure" or told is None:
        return []
    members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    return [
        found
        for name, value in told.items()
        for found in (unknown(value, members[name]) if name in members else [name])
    ]


# what a vault tells


def test_a_vault_tells_of_its_last_inventory(server: VaultServer, vault: GlacierVault) -> None:
    assert vault.facts().inventoried_at is None
    server.add_archive(NAME, BODY, "x")
    server.add_archive(NAME, b"two", "x")
    assert vault.facts().archives == 0
    server.advance(hours=1)
    facts = vault.facts()
    assert (facts.archives, facts.size, facts.inventoried_at) == (2, len(BODY) + 3, server.now)


def test_an_inventory_is_a_job(server: VaultServer, vault: GlacierVault) -> None:
    with pytest.raises(StoreRefusedError, match="no inventory yet"):
        vault.start_inventory("w0")
    server.advance(hours=1)
    job = vault.start_inventory("w1")
    assert not vault.job(job).is_ended
    with pytest.raises(StillColdError):
        vault.output(job, 0, 100)
    server.advance(hours=4)
    told = vault.job(job)
    assert told.is_ended
    assert not told.has_failed
    assert told.readable_until == server.now + timedelta(hours=24)
    data, digest, size = read(vault, job, 0, 1 << 20)
    assert (len(data), digest) == (size, None)
    assert b'"ArchiveList": []' in data


def test_an_archive_comes_in_ranges_and_aligned_ones_carry_their_digest(
    server: VaultServer, vault: GlacierVault
) -> None:
    job = retrieved(server, vault)
    assert vault.job(job).tree_hash == tree_hash(BODY)
    for start, stop, is_branch in (
        (0, len(BODY), True),
        (0, 2 * MIB, True),
        (4 * MIB, len(BODY), True),
        (MIB, 3 * MIB, False),
        (7, 70, False),
    ):
        data, digest, size = read(vault, job, start, stop)
        assert (data, size) == (BODY[start:stop], len(BODY))
        assert digest == (tree_hash(data) if is_branch else None)


def test_a_job_may_be_of_a_part_of_an_archive(server: VaultServer, vault: GlacierVault) -> None:
    job = retrieved(server, vault, byte_range=(2 * MIB, 4 * MIB))
    assert vault.job(job).tree_hash == tree_hash(BODY[2 * MIB : 4 * MIB])
    assert read(vault, job, 0, MIB) == (BODY[2 * MIB : 3 * MIB], tree_hash(BODY[2 * MIB : 3 * MIB]), 2 * MIB)
    with pytest.raises(StoreRefusedError, match="does not take this request"):
        vault.start_retrieval(next(iter(server.vaults[NAME].archives)), "w", tier="Bulk", byte_range=(5, MIB))


def test_jobs_and_outputs_expire(server: VaultServer, vault: GlacierVault) -> None:
    job = retrieved(server, vault)
    server.advance(hours=22.9)
    assert read(vault, job, 0, 10)[0] == BODY[:10]
    server.advance(hours=0.2)
    with pytest.raises(ObjectMissingError):
        vault.job(job)
    with pytest.raises(ObjectMissingError):
        vault.output(job, 0, 10)


def test_a_job_is_found_by_its_word_on_a_later_page(server: VaultServer, vault: GlacierVault) -> None:
    server.advance(hours=1)
    jobs = [vault.start_inventory(f"word {n}") for n in range(120)]
    found = vault.job_of("word 119")
    assert found is not None
    assert found.job_id == jobs[119]
    assert vault.job_of("another word") is None


# what goes wrong


def test_a_lost_answer_begins_no_second_job(server: VaultServer, vault: GlacierVault) -> None:
    archive = server.add_archive(NAME, BODY, "x")
    server.fail(match="POST /-/vaults/old-recordings/jobs", cut_at=0, flip_at=None)
    real = server.answer

    def begun_but_unanswered(asked: Any) -> Any:
        reply = real(asked)
        if asked.method == "POST" and server.count("POST") == 1:
            reply.status, reply.body = 500, b"{}"
        return reply

    with mock.patch.object(server, "answer", begun_but_unanswered):
        job = vault.start_retrieval(archive, "word", tier="Bulk")
    assert list(server.vaults[NAME].jobs) == [job]


def test_throttling_and_faults_are_waited_out_and_told(server: VaultServer) -> None:
    waits: list[Wait] = []
    vault = open_vault(f"glacier://{NAME}", backoff=QUICK, on_wait=waits.append)
    server.fail(match="GET", status=400, code="ThrottlingException")
    server.fail(match="GET", status=503, code="ServiceUnavailableException")
    vault.facts()
    assert [w.code for w in waits] == ["store-busy", "store-busy"]
    for _ in range(3):
        server.fail(match="GET", status=500, code="InternalFailure")
    with pytest.raises(StoreUnreachableError):
        vault.facts()
    vault.close()


def test_an_interrupted_run_does_not_wait(server: VaultServer) -> None:
    stop = threading.Event()
    stop.set()
    vault = open_vault(f"glacier://{NAME}", stop=stop)
    server.fail(match="GET", status=503, code="ServiceUnavailableException")
    with pytest.raises(InterruptedRunError):
        vault.facts()
    vault.close()


def test_a_body_that_breaks_off_is_never_taken_for_whole(server: VaultServer, vault: GlacierVault) -> None:
    job = retrieved(server, vault)
    server.fail(match="/output", cut_at=1000)
    with pytest.raises(StoreUnreachableError):
        read(vault, job, 0, 2 * MIB)


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (400, "PolicyEnforcedException", StoreRefusedError, "retrieval policy"),
        (503, "InsufficientCapacityException", StoreRefusedError, "--tier Standard"),
        (404, "ResourceNotFoundException", ObjectMissingError, "archive"),
        (403, "AccessDeniedException", StoreRefusedError, "glacier:InitiateJob"),
        (403, "UnrecognizedClientException", StoreRefusedError, "credentials"),
        (400, "ExpiredTokenException", StoreRefusedError, "expired"),
        (410, "NoLongerSupportedException", StoreRefusedError, "no longer"),
        (400, "LimitExceededException", StoreBusyError, "busy"),
        (408, "RequestTimeoutException", StoreUnreachableError, "too long"),
        (400, "MissingParameterValueException", StoreRefusedError, "does not take"),
        (418, "SomethingNewException", StoreRefusedError, "SomethingNewException"),
    ],
)
def test_answers_are_told_in_our_words(
    server: VaultServer, vault: GlacierVault, status: int, code: str, kind: type[EcogsafeError], told: str
) -> None:
    for _ in range(3):
        server.fail(match="POST", status=status, code=code)
    with pytest.raises(kind) as caught:
        vault.start_retrieval("an-archive", "word", tier="Expedited")
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_server_without_ranges_is_refused(server: VaultServer, vault: GlacierVault) -> None:
    job = retrieved(server, vault)
    real = server.answer

    def whole(asked: Any) -> Any:
        reply = real(asked)
        reply.headers.pop("Content-Range", None)
        return reply

    with mock.patch.object(server, "answer", whole), pytest.raises(StoreRefusedError, match="ranges"):
        vault.output(job, 0, 10)


def test_a_vault_that_is_not_there_and_settings_that_are_wrong(server: VaultServer) -> None:
    other = open_vault("glacier://nowhere", backoff=QUICK)
    with pytest.raises(StoreRefusedError, match="no such vault"):
        other.facts()
    other.close()
    with (
        mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL_GLACIER": "secret words"}),
        pytest.raises(StoreRefusedError, match="not a URL") as caught,
    ):
        open_vault(f"glacier://{NAME}")
    assert "secret" not in str(caught.value)
    with mock.patch.dict(os.environ), pytest.raises(StoreRefusedError, match="region"):
        del os.environ["AWS_DEFAULT_REGION"]
        open_vault(f"glacier://{NAME}")
    for url in ("glacier://", "glacier://a/b", "glacier://a b", "s3://bucket"):
        with pytest.raises(UsageError):
            open_vault(url)


def test_a_vault_is_no_place_to_send_to() -> None:
    with pytest.raises(StoreRefusedError, match="only read") as caught:
        open_store(f"glacier://{NAME}")
    assert "DEEP_ARCHIVE" in caught.value.next
    assert one_url(f"glacier://{NAME}") == f"glacier://{NAME}"
