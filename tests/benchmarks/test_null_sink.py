"""The null sink is a store that ecogsafe counts on, and says no where a store must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.data import Clips, make_clips
from benchmarks.lab import Lab, make_lab
from benchmarks.measuring import CommandFailed, measure
from benchmarks.rounds import attempted
from benchmarks.servers import Server, null_sink
from benchmarks.sink_objects import Request
from benchmarks.uploading import Attempt, ecogsafe_upload
from botocore.exceptions import ClientError

from ecogsafe.catalog import summaries
from ecogsafe.catalog.database import Catalog

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def sink() -> Iterator[Server]:
    with null_sink() as server:
        yield server


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("lab") / "lab", work_factor=10)


def proven(attempt: Attempt) -> int:
    """Files that the store's own checksum proved, as the catalogue has it."""
    with Catalog.open(attempt.folder / "ecogsafe" / "catalog.sqlite") as catalog, catalog.read() as tx:
        return sum(each.checksum for each in summaries.copy_summaries(tx))


def etags(attempt: Attempt) -> dict[str, str]:
    """What tells one writing of an object from another."""
    listed = attempt.server.client().list_objects_v2(Bucket=attempt.bucket)["Contents"]
    return {each["Key"]: each["ETag"] for each in listed if not each["Key"].startswith("_ecogsafe/")}


@pytest.mark.parametrize(("files", "bytes_each"), [(2, 68_000_000), (30, 16_384)], ids=["in parts", "in one request"])
def test_an_upload_of_ours_is_accepted_and_proven(
    sink: Server, lab: Lab, tmp_path: Path, files: int, bytes_each: int
) -> None:
    clips: Clips = make_clips(tmp_path / "out", files=files, bytes_each=bytes_each)
    with attempted(sink, clips, tmp_path) as attempt:
        run = measure(ecogsafe_upload(attempt, lab))
        assert proven(attempt) == files
        objects, size = sink.contents(attempt.bucket)
        assert objects == files
        assert clips.bytes < size < clips.bytes * 1.1
        store = json.loads(sink.client().get_object(Bucket=attempt.bucket, Key="_ecogsafe/store.json")["Body"].read())
        assert len(store["store_id"]) == 32
    assert run.temp_bytes == 0
    assert run.cpu_s > 0


def test_a_second_upload_finds_all_there(sink: Server, lab: Lab, tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "out", files=3, bytes_each=16_384)
    with attempted(sink, clips, tmp_path) as attempt:
        command = ecogsafe_upload(attempt, lab)
        measure(command)
        before = etags(attempt)
        measure(command)
        assert len(before) == 3
        assert etags(attempt) == before
        assert proven(attempt) == 3


def test_it_says_no_where_a_store_must(sink: Server) -> None:
    client, bucket = sink.client(), sink.new_bucket()
    client.put_object(Bucket=bucket, Key="a/one", Body=b"x" * 100)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="a/one", Body=b"y", IfNoneMatch="*")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=bucket, Key="a/two")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        client.upload_part(Bucket=bucket, Key="a/two", UploadId="none", PartNumber=1, Body=b"z")
    with pytest.raises(ClientError, match="BytesWereThrownAway"):
        client.get_object(Bucket=bucket, Key="a/one")


def test_bodies_in_signed_frames_are_unpacked() -> None:
    """As restic sends them."""
    frames = b"5;chunk-signature=00ff\r\nfirst\r\n1;chunk-signature=01\r\n!\r\n0;chunk-signature=02\r\n\r\n"
    request = Request(
        method="PUT",
        bucket="b",
        key="restic/config",
        query={},
        headers={"content-length": str(len(frames)), "x-amz-decoded-content-length": "6"},
        body=bytearray(frames),
    )
    assert (request.size, request.content(), request.keep_body) == (6, b"first!", True)


def test_listings_come_in_pages_and_folders(sink: Server) -> None:
    client, bucket = sink.client(), sink.new_bucket()
    for number in range(7):
        client.put_object(Bucket=bucket, Key=f"{'ab'[number % 2]}/{number}", Body=b"x" * number)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    found = [(each["Key"], each["Size"]) for page in pages for each in page["Contents"]]
    assert found == [("a/0", 0), ("a/2", 2), ("a/4", 4), ("a/6", 6), ("b/1", 1), ("b/3", 3), ("b/5", 5)]
    answer = client.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [each["Prefix"] for each in answer["CommonPrefixes"]] == ["a/", "b/"]


def test_a_client_that_fails_is_not_measured(sink: Server, lab: Lab, tmp_path: Path) -> None:
    with (
        attempted(sink, make_clips(tmp_path / "out", files=0, bytes_each=1), tmp_path) as attempt,
        pytest.raises(CommandFailed, match="ecogsafe ended with 2"),
    ):
        measure(ecogsafe_upload(attempt, lab))
