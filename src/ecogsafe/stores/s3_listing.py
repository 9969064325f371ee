"""One page of a listing of a bucket: what is asked, and what the answer says.

References
----------
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus

# expat refuses entities that grow; the SDK reads listings with it too
from xml.etree import ElementTree

from ecogsafe.core.errors import StoreUnreachableError

_RESULT = "ListBucketResult"


@dataclass(frozen=True, slots=True)
class Found:
    """One object, as a listing shows it."""

    #: whole, with the prefix of the store
    key: str
    #: bytes
    size: int
    etag: str | None
    storage_class: str | None
    last_modified: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    found: list[Found]
    #: what asks for the page behind; None: there is none
    next: str | None


def listing_of(prefix: str, page_size: int | None) -> dict[str, str]:
    """Return the parameters of a listing; names come encoded, as not every character can stand in XML."""
    asked = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
    return asked if page_size is None else asked | {"max-keys": str(page_size)}


def read_page(data: bytes, *, store: str) -> Page:
    """Return what an answer says.

    Raises
    ------
    StoreUnreachableError
        It is no listing, or breaks off.
    """
    try:
        result = ElementTree.fromstring(data)  # noqa: S314
        if _name(result) != _RESULT:
            raise StoreUnreachableError(store, "a listing is none", next="run again")
        told = {_name(child): child.text or "" for child in result}
        is_encoded = told.get("EncodingType") == "url"
        found = [_found(child, is_encoded=is_encoded) for child in result if _name(child) == "Contents"]
        if told.get("IsTruncated", "").strip().lower() != "true":
            return Page(found, None)
        return Page(found, told["NextContinuationToken"])
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise StoreUnreachableError(store, "a listing cannot be understood", next="run again") from error


def _found(element: ElementTree.Element, *, is_encoded: bool) -> Found:
    told = {_name(child): child.text for child in element}
    key, modified = told["Key"] or "", told.get("LastModified")
    return Found(
        key=unquote_plus(key) if is_encoded else key,
        size=int(told["Size"] or ""),
        etag=told.get("ETag"),
        storage_class=told.get("StorageClass"),
        last_modified=_time(modified) if modified else None,
    )


def _name(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
