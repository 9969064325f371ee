"""Pages of a listing, as servers write them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.s3_listing import read_page
from tests.servers.scripted import Answer, ScriptedServer

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ONE = (
    "<Contents><Key>eeg/a%20b%2B%C3%A9.edf</Key><LastModified>2026-07-01T02:03:04.567Z</LastModified>"
    "<ETag>&quot;e-1&quot;</ETag><Size>5368709120</Size><Owner><ID>x</ID></Owner>"
    "<StorageClass>GLACIER</StorageClass></Contents>"
)
TWO = "<Contents><Key>eeg/c%0A</Key><Size>0</Size></Contents>"


def _page(inside: str, *, namespace: str = NAMESPACE) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{namespace}>{inside}</ListBucketResult>'.encode()


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_what_a_page_says(namespace: str) -> None:
    page = read_page(_page(f"<EncodingType>url</EncodingType>{ONE}\n{TWO}", namespace=namespace), store="s3://lab")
    one, two = page.found
    assert (one.key, one.size, one.etag, one.storage_class) == ("eeg/a b+é.edf", 5 << 30, '"e-1"', "GLACIER")
    assert one.last_modified == datetime(2026, 7, 1, 2, 3, 4, 567_000, tzinfo=UTC)
    assert (two.key, two.size, two.etag, two.storage_class, two.last_modified) == ("eeg/c\n", 0, None, None, None)
    assert page.next is None


def test_a_space_may_come_as_a_plus_as_s3_has_it() -> None:
    key = "<EncodingType>url</EncodingType><Contents><Key>eeg/a+b%2B%25</Key><Size>1</Size></Contents>"
    (found,) = read_page(_page(key), store="s3://lab").found
    assert found.key == "eeg/a b+%"


def test_names_that_are_not_encoded_are_taken_as_they_are() -> None:
    (found,) = read_page(_page("<Contents><Key>eeg/100%25+</Key><Size>1</Size></Contents>"), store="s3://lab").found
    assert found.key == "eeg/100%25+"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _page(ONE)[:-9],
        b"<Error><Code>None</Code></Error>",
        _page("<IsTruncated>true</IsTruncated>"),
        _page("<Contents><Key>a</Key></Contents>"),
        _page("<Contents><Size>1</Size></Contents>"),
        _page("<Contents><Key>a</Key><Size>many</Size></Contents>"),
    ],
)
def test_half_a_listing_is_none(data: bytes) -> None:
    """A listing cut short would make what is there look missing."""
    with pytest.raises(StoreUnreachableError):
        read_page(data, store="s3://lab")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_whatever_comes_is_understood_or_refused(data: bytes) -> None:
    try:
        assert read_page(data, store="s3://lab").found == []
    except StoreUnreachableError as error:
        assert error.item == "s3://lab"


def test_pages_are_asked_for_until_there_is_none() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>on/+=</NextContinuationToken>"
    answers = [Answer(body=_page(f"{ONE}{more}")), Answer(body=_page(f"{TWO}<IsTruncated>false</IsTruncated>"))]
    with ScriptedServer(*answers) as server:
        store = connect(
            "lab-video",
            "eeg",
            endpoint_url=server.url,
            access_key="access",
            secret_key=Secret(b"hidden"),
            region="us-west-2",
            page_size=1,
        )
        assert [found.size for found in store.list("a/../")] == []
        store.close()
        asked = [parse_qs(urlsplit(one.target).query) for one in server.asked]
    same = {"list-type": ["2"], "prefix": ["eeg/a/../"], "encoding-type": ["url"], "max-keys": ["1"]}
    assert asked == [same, same | {"continuation-token": ["on/+="]}]
    assert server.connections == 1


def test_a_listing_that_does_not_go_on_ends() -> None:
    """Some server gives the same token for ever."""
    again = f"{ONE}<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>"
    with ScriptedServer(*[Answer(body=_page(again))] * 5) as server:
        store = connect("lab", endpoint_url=server.url, access_key="a", secret_key=Secret(b"s"), region="us-west-2")
        with pytest.raises(StoreUnreachableError, match="does not go on"):
            list(store.list())
        assert len(server.asked) == 2
