"""What the null sink knows of objects: names, sizes, checksums as claimed; bytes only where they are read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import count
from xml.sax.saxutils import escape

#: our own objects, and those restic reads again; restic's own lie below a folder "restic"
_KEPT = re.compile(r"_ecogsafe/|restic/(config$|keys/|locks/|index/|snapshots/)")
_ECHOED = re.compile(r"x-amz-(checksum-|meta-)")
_STAMP = "2026-01-01T00:00:00.000Z"
_PAGE = 1000


@dataclass(kw_only=True)
class Request:
    """One request, its head parsed."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    @property
    def keep_body(self) -> bool:
        """True where the bytes are needed: what is read again, and the short XML of control requests."""
        return self.method == "POST" or (self.method == "PUT" and bool(_KEPT.search(self.key)))

    @property
    def size(self) -> int:
        """Bytes of the object or part, without the frames of ``aws-chunked``."""
        return int(self.headers.get("x-amz-decoded-content-length") or self.headers.get("content-length") or 0)

    def content(self) -> bytes:
        """Return the kept bytes, without the frames of ``aws-chunked``."""
        if "x-amz-decoded-content-length" not in self.headers:
            return bytes(self.body)
        found, at = bytearray(), 0
        while True:
            line = self.body.index(b"\r\n", at)
            length = int(self.body[at:line].split(b";")[0], 16)
            if not length:
                return bytes(found)
            found += self.body[line + 2 : line + 2 + length]
            at = line + 2 + length + 2

    def echoed(self) -> dict[str, str]:
        """Return the checksums and metadata that the client claims."""
        return {name: value for name, value in self.headers.items() if _ECHOED.match(name)}


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Object:
    size: int
    etag: str
    echoed: dict[str, str]
    body: bytes | None


@dataclass
class _Upload:
    key: str
    echoed: dict[str, str]
    parts: dict[int, int] = field(default_factory=dict)


def _xml(name: str, *children: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{"".join(children)}</{name}>'.encode()


def _tag(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def _error(status: int, code: str) -> Answer:
    return Answer(status, _xml("Error", _tag("Code", code), _tag("Message", code)))


class Buckets:
    """All buckets; a name is made by its first use."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, _Object]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._numbers = count(1)

    def answer(self, request: Request) -> Answer:
        """Return the answer to ``request``; an unknown one is answered 501."""
        objects = self._objects.setdefault(request.bucket, {})
        if not request.key:
            return self._of_bucket(request, objects)
        acts: dict[str, Callable[[Request, dict[str, _Object]], Answer]] = {
            "PUT": self._put,
            "POST": self._post,
            "GET": self._get,
            "HEAD": self._head,
            "DELETE": self._delete,
        }
        act = acts.get(request.method)
        return act(request, objects) if act else _error(501, "NotImplemented")

    def _of_bucket(self, request: Request, objects: dict[str, _Object]) -> Answer:
        query = request.query
        if request.method == "DELETE":
            del self._objects[request.bucket]
            return Answer(204)
        if request.method == "POST" and "delete" in query:
            for key in re.findall(r"<Key>(.*?)</Key>", request.body.decode()):
                objects.pop(key, None)
            return Answer(body=_xml("DeleteResult"))
        if request.method != "GET":
            return Answer()
        if "location" in query:
            return Answer(body=_xml("LocationConstraint"))
        if "uploads" in query:
            return Answer(body=_xml("ListMultipartUploadsResult", _tag("IsTruncated", "false")))
        return Answer(body=_listing(request, objects))

    def _put(self, request: Request, objects: dict[str, _Object]) -> Answer:
        upload_id = request.query.get("uploadId")
        etag = f'"null-{next(self._numbers)}"'
        echoed = request.echoed()
        if upload_id is not None:
            upload = self._uploads.get(upload_id)
            if upload is None:
                return _error(404, "NoSuchUpload")
            upload.parts[int(request.query["partNumber"])] = request.size
            return Answer(headers={"etag": etag} | echoed)
        if request.headers.get("if-none-match") == "*" and request.key in objects:
            return _error(412, "PreconditionFailed")
        body = request.content() if request.keep_body else None
        objects[request.key] = _Object(request.size, etag, echoed, body)
        return Answer(headers={"etag": etag} | echoed)

    def _post(self, request: Request, objects: dict[str, _Object]) -> Answer:
        where = (_tag("Bucket", request.bucket), _tag("Key", request.key))
        if "uploads" in request.query:
            upload_id = f"upload-{next(self._numbers)}"
            self._uploads[upload_id] = _Upload(request.key, request.echoed())
            return Answer(body=_xml("InitiateMultipartUploadResult", *where, _tag("UploadId", upload_id)))
        upload = self._uploads.pop(request.query.get("uploadId", ""), None)
        if upload is None:
            return _error(404, "NoSuchUpload")
        if request.headers.get("if-none-match") == "*" and request.key in objects:
            return _error(412, "PreconditionFailed")
        echoed = {name: v for name, v in request.echoed().items() if name.startswith("x-amz-checksum-")}
        etag = f'"null-{next(self._numbers)}-{len(upload.parts)}"'
        objects[request.key] = _Object(sum(upload.parts.values()), etag, upload.echoed | echoed, None)
        told = [_tag("ETag", etag)]
        if "x-amz-checksum-crc64nvme" in echoed:
            told += [_tag("ChecksumCRC64NVME", echoed["x-amz-checksum-crc64nvme"]), _tag("ChecksumType", "FULL_OBJECT")]
        return Answer(body=_xml("CompleteMultipartUploadResult", *where, *told))

    def _get(self, request: Request, objects: dict[str, _Object]) -> Answer:
        upload = self._uploads.get(request.query.get("uploadId", ""))
        if upload is not None:
            parts = (
                f"<Part>{_tag('PartNumber', n)}{_tag('Size', size)}{_tag('ETag', 'null')}</Part>"
                for n, size in sorted(upload.parts.items())
            )
            return Answer(body=_xml("ListPartsResult", *parts, _tag("IsTruncated", "false")))
        found = objects.get(request.key)
        if found is None:
            return _error(404, "NoSuchKey")
        if found.body is None:
            return _error(500, "BytesWereThrownAway")
        headers = _headers(found)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None:
            return Answer(200, found.body, headers)
        start, stop = int(span[1]), min(int(span[2] or found.size) + 1, found.size)
        if start >= found.size:
            return _error(416, "InvalidRange")
        headers["content-range"] = f"bytes {start}-{stop - 1}/{found.size}"
        return Answer(206, found.body[start:stop], headers)

    def _head(self, request: Request, objects: dict[str, _Object]) -> Answer:
        found = objects.get(request.key)
        if found is None:
            return Answer(404)
        return Answer(headers=_headers(found) | {"content-length": str(found.size)})

    def _delete(self, request: Request, objects: dict[str, _Object]) -> Answer:
        if self._uploads.pop(request.query.get("uploadId", ""), None) is None:
            objects.pop(request.key, None)
        return Answer(204)


def _headers(found: _Object) -> dict[str, str]:
    told = {"etag": found.etag, "last-modified": formatdate(1767225600, usegmt=True)} | found.echoed
    if "x-amz-checksum-crc64nvme" in found.echoed:
        told["x-amz-checksum-type"] = "FULL_OBJECT"
    return told


def _listing(request: Request, objects: dict[str, _Object]) -> bytes:
    """Return one page of ListObjects, of either version."""
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
    limit = int(query.get("max-keys", _PAGE))
    contents: list[str] = []
    folders: list[str] = []
    last, more = "", False
    for key in _from(sorted(k for k in objects if k.startswith(prefix)), after):
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        folder = key[: cut + len(delimiter)] if cut >= 0 else None
        if folder is not None and folders and folders[-1] == folder:
            last = key
            continue
        if len(contents) + len(folders) >= limit:
            more = True
            break
        last = key
        if folder is not None:
            folders.append(folder)
            continue
        found = objects[key]
        told = (_tag("Key", key), _tag("Size", found.size), _tag("ETag", found.etag), _tag("LastModified", _STAMP))
        contents.append(f"<Contents>{''.join(told)}<StorageClass>STANDARD</StorageClass></Contents>")
    following = (_tag("NextContinuationToken", last), _tag("NextMarker", last)) if more else ()
    return _xml(
        "ListBucketResult",
        _tag("Name", request.bucket),
        _tag("Prefix", prefix),
        _tag("KeyCount", len(contents) + len(folders)),
        _tag("MaxKeys", limit),
        _tag("IsTruncated", str(more).lower()),
        *following,
        *contents,
        *(f"<CommonPrefixes>{_tag('Prefix', folder)}</CommonPrefixes>" for folder in folders),
    )


def _from(keys: Iterable[str], after: str) -> Iterable[str]:
    return (key for key in keys if key > after) if after else keys
