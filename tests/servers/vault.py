"""Amazon Glacier's vault API (2012-06-01) as a stand-in on loopback, with a clock that a test sets.

Written after the developer guide; its answers are read by botocore's own parsers in the tests. What the service checks
is checked: signatures (version 4), tree hashes of parts and wholes, part sizes, aligned ranges, what has expired.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.vault_wire import (
    ACCESS_KEY,
    MIB,
    REGION,
    SECRET_KEY,
    Asked,
    Refused,
    Reply,
    check_signature,
    covers_a_branch,
    tree,
)

WAITS = {
    "Expedited": timedelta(minutes=5),
    "Standard": timedelta(hours=4),
    "Bulk": timedelta(hours=8),
    "inventory": timedelta(hours=4),
}
OUTPUT_KEPT = UPLOAD_KEPT = INVENTORY_EVERY = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong once, with the next request whose ``METHOD path`` has ``match`` in it."""

    match: str
    #: an error answer in the place of the right one
    status: int = 0
    code: str = ""
    #: the body breaks off after so many bytes, and the connection with it
    cut_at: int | None = None
    #: this byte of the body is another
    flip_at: int | None = None
    #: what the header says of the tree hash in place of the truth
    tree_hash: str | None = None


@dataclass
class Archive:
    body: bytes
    description: str
    created: datetime
    tree_hash: str


@dataclass
class Upload:
    description: str
    part_size: int
    touched: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Job:
    action: str
    created: datetime
    ends: datetime
    description: str | None
    tier: str | None = None
    archive_id: str | None = None
    start: int = 0
    stop: int = 0
    output: bytes = b""
    failed: str = ""


@dataclass
class Vault:
    created: datetime
    archives: dict[str, Archive] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    #: time of the last change that it shows, and the list
    inventory: tuple[datetime, list[dict[str, Any]]] | None = None
    #: when it was last taken, changed or not
    inventoried: datetime | None = None


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class VaultServer:
    """Use it as a context manager; ``now`` is the service's clock, moved by `advance` alone."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 10, tzinfo=UTC)
        self.vaults: dict[str, Vault] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        #: retrievals above so many bytes are against the account's policy
        self.policy_bytes: int | None = None
        #: no room for Expedited just now
        self.is_crowded = False
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process that shall meet this server needs."""
        return {
            "AWS_ENDPOINT_URL_GLACIER": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> VaultServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def add_vault(self, name: str) -> Vault:
        return self.vaults.setdefault(name, Vault(self.now))

    def add_archive(self, vault: str, body: bytes, description: str) -> str:
        """Put an archive there without asking over the network; a day later it is in the inventory."""
        archive_id = secrets.token_urlsafe(102)
        self.add_vault(vault).archives[archive_id] = Archive(body, description, self.now, tree(body))
        return archive_id

    def advance(self, **by: float) -> None:
        """Move the clock; the inventory of each vault is taken anew once a day."""
        with self.lock:
            self.now += timedelta(**by)
            for vault in self.vaults.values():
                if vault.inventoried is None or self.now - vault.inventoried >= INVENTORY_EVERY:
                    self.take_inventory(vault)

    def take_inventory(self, vault: Vault) -> None:
        rows = [
            {
                "ArchiveId": archive_id,
                "ArchiveDescription": archive.description,
                "CreationDate": stamp(archive.created).replace(".000Z", "Z"),
                "Size": len(archive.body),
                "SHA256TreeHash": archive.tree_hash,
            }
            for archive_id, archive in vault.archives.items()
        ]
        vault.inventoried = self.now
        if vault.inventory is None or vault.inventory[1] != rows:
            vault.inventory = (self.now, rows)

    def fail(self, **fault: Any) -> None:
        self.faults.append(Fault(**fault))

    def count(self, match: str) -> int:
        """Return how many requests so far had ``match`` in their ``METHOD path``."""
        return sum(match in f"{a.method} {a.path}" for a in self.asked)

    def fault_for(self, asked: Asked) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.match in f"{asked.method} {asked.path}":
                    self.faults.remove(fault)
                    return fault
        return None

    def answer(self, asked: Asked) -> Reply:
        check_signature(asked)
        if asked.headers.get("x-amz-glacier-version") != "2012-06-01":
            raise Refused("MissingParameterValueException")
        for method, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, asked.path)
            if method == asked.method and match:
                with self.lock:
                    vault = self.vaults.get(match["vault"])
                    if vault is None:
                        raise Refused("ResourceNotFoundException", 404)
                    return act(self, vault, asked, match["id"] if "id" in match.groupdict() else match["vault"])
        raise Refused("UnrecognizedOperation", 404)


def _json(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode())


def _page(asked: Asked, ids: list[str]) -> tuple[list[str], str | None]:
    """Return the ids of the page that was asked for, and the marker of the next."""
    first = ids.index(asked.query["marker"]) if "marker" in asked.query else 0
    last = first + int(asked.query.get("limit", 50))
    return ids[first:last], ids[last] if last < len(ids) else None


def _describe_vault(server: VaultServer, vault: Vault, asked: Asked, name: str) -> Reply:
    rows = vault.inventory[1] if vault.inventory else []
    return _json(
        {
            "CreationDate": stamp(vault.created),
            "LastInventoryDate": stamp(vault.inventoried) if vault.inventoried else None,
            "NumberOfArchives": len(rows),
            "SizeInBytes": sum(row["Size"] for row in rows),
            "VaultARN": f"arn:aws:glacier:{REGION}:012345678901:vaults/{name}",
            "VaultName": name,
        }
    )


def _created(archive_id: str, archive: Archive) -> Reply:
    headers = {"x-amz-archive-id": archive_id, "x-amz-sha256-tree-hash": archive.tree_hash}
    return Reply(201, {**headers, "Location": f"/012345678901/vaults/v/archives/{archive_id}"})


def _keep(server: VaultServer, vault: Vault, body: bytes, description: str, told: str | None) -> Reply:
    if told != tree(body):
        raise Refused("InvalidParameterValueException")
    archive_id = secrets.token_urlsafe(102)
    archive = vault.archives[archive_id] = Archive(body, description, server.now, tree(body))
    return _created(archive_id, archive)


def _upload_archive(server: VaultServer, vault: Vault, asked: Asked, _: str) -> Reply:
    description = asked.headers.get("x-amz-archive-description", "")
    return _keep(server, vault, asked.body, description, asked.headers.get("x-amz-sha256-tree-hash"))


def _begin_upload(server: VaultServer, vault: Vault, asked: Asked, _: str) -> Reply:
    part_size = int(asked.headers.get("x-amz-part-size", 0))
    if part_size < MIB or part_size > 4096 * MIB or part_size & (part_size - 1):
        raise Refused("InvalidParameterValueException")
    upload_id = secrets.token_urlsafe(69)
    description = asked.headers.get("x-amz-archive-description", "")
    vault.uploads[upload_id] = Upload(description, part_size, server.now)
    location = f"/012345678901/vaults/v/multipart-uploads/{upload_id}"
    return Reply(201, {"x-amz-multipart-upload-id": upload_id, "Location": location})


def _upload(server: VaultServer, vault: Vault, upload_id: str) -> Upload:
    found = vault.uploads.get(upload_id)
    if found is None or server.now - found.touched >= UPLOAD_KEPT:
        raise Refused("ResourceNotFoundException", 404)
    found.touched = server.now
    return found


def _put_part(server: VaultServer, vault: Vault, asked: Asked, upload_id: str) -> Reply:
    upload = _upload(server, vault, upload_id)
    said = re.fullmatch(r"bytes (\d+)-(\d+)/\*", asked.headers.get("content-range", ""))
    start, stop = (int(said[1]), int(said[2]) + 1) if said else (1, 0)
    fits = start % upload.part_size == 0 and stop - start == len(asked.body) <= upload.part_size
    if not fits or asked.headers.get("x-amz-sha256-tree-hash") != tree(asked.body):
        raise Refused("InvalidParameterValueException")
    upload.parts[start] = asked.body
    return Reply(204, {"x-amz-sha256-tree-hash": tree(asked.body)})


def _finish_upload(server: VaultServer, vault: Vault, asked: Asked, upload_id: str) -> Reply:
    upload = _upload(server, vault, upload_id)
    starts = sorted(upload.parts)
    body = b"".join(upload.parts[start] for start in starts)
    is_whole = starts == list(range(0, len(body), upload.part_size))
    if not is_whole or int(asked.headers.get("x-amz-archive-size", -1)) != len(body):
        raise Refused("InvalidParameterValueException")
    kept = _keep(server, vault, body, upload.description, asked.headers.get("x-amz-sha256-tree-hash"))
    del vault.uploads[upload_id]
    return kept


def _list_parts(server: VaultServer, vault: Vault, asked: Asked, upload_id: str) -> Reply:
    upload = _upload(server, vault, upload_id)
    page, marker = _page(asked, [str(start) for start in sorted(upload.parts)])
    parts = [(int(start), upload.parts[int(start)]) for start in page]
    return _json(
        {
            "ArchiveDescription": upload.description,
            "CreationDate": stamp(upload.touched),
            "Marker": marker,
            "MultipartUploadId": upload_id,
            "PartSizeInBytes": upload.part_size,
            "Parts": [
                {"RangeInBytes": f"{start}-{start + len(p) - 1}", "SHA256TreeHash": tree(p)} for start, p in parts
            ],
            "VaultARN": "arn",
        }
    )


def _list_uploads(server: VaultServer, vault: Vault, asked: Asked, _: str) -> Reply:
    page, marker = _page(asked, [u for u, upload in vault.uploads.items() if server.now - upload.touched < UPLOAD_KEPT])
    rows = [
        {
            "ArchiveDescription": vault.uploads[u].description,
            "CreationDate": stamp(vault.uploads[u].touched),
            "MultipartUploadId": u,
            "PartSizeInBytes": vault.uploads[u].part_size,
            "VaultARN": "arn",
        }
        for u in page
    ]
    return _json({"Marker": marker, "UploadsList": rows})


def _abort_upload(server: VaultServer, vault: Vault, asked: Asked, upload_id: str) -> Reply:
    vault.uploads.pop(upload_id, None)
    return Reply(204)


def _start_job(server: VaultServer, vault: Vault, asked: Asked, _: str) -> Reply:
    wish = json.loads(asked.body)
    if wish.get("Type") == "inventory-retrieval":
        if vault.inventory is None:
            raise Refused("ResourceNotFoundException", 404)
        at, rows = vault.inventory
        output = json.dumps({"VaultARN": "arn", "InventoryDate": stamp(at), "ArchiveList": rows}).encode()
        job = Job("InventoryRetrieval", server.now, server.now + WAITS["inventory"], wish.get("Description"))
        job.output, job.stop = output, len(output)
    else:
        job = _retrieval(server, vault, wish)
    job_id = secrets.token_urlsafe(69)
    vault.jobs[job_id] = job
    return Reply(202, {"x-amz-job-id": job_id, "Location": f"/012345678901/vaults/v/jobs/{job_id}"})


def _retrieval(server: VaultServer, vault: Vault, wish: Mapping[str, Any]) -> Job:
    archive = vault.archives.get(wish.get("ArchiveId", ""))
    tier = wish.get("Tier", "Standard")
    if archive is None:
        raise Refused("ResourceNotFoundException", 404)
    if wish.get("Type") != "archive-retrieval" or tier not in WAITS or tier == "inventory":
        raise Refused("InvalidParameterValueException")
    if server.policy_bytes is not None and len(archive.body) > server.policy_bytes:
        raise Refused("PolicyEnforcedException")
    if tier == "Expedited" and server.is_crowded:
        raise Refused("InsufficientCapacityException", 503)
    start, stop = 0, len(archive.body)
    if said := wish.get("RetrievalByteRange"):
        start, stop = (int(n) for n in said.split("-"))
        stop += 1
        if start % MIB or (stop % MIB and stop != len(archive.body)) or not start < stop <= len(archive.body):
            raise Refused("InvalidParameterValueException")
    job = Job("ArchiveRetrieval", server.now, server.now + WAITS[tier], wish.get("Description"), tier)
    job.archive_id, job.start, job.stop, job.output = wish["ArchiveId"], start, stop, archive.body[start:stop]
    return job


def _job(server: VaultServer, vault: Vault, job_id: str) -> Job:
    job = vault.jobs.get(job_id)
    if job is None or server.now >= job.ends + OUTPUT_KEPT:
        raise Refused("ResourceNotFoundException", 404)
    return job


def _shown(server: VaultServer, vault: Vault, job_id: str, job: Job) -> dict[str, Any]:
    is_done = server.now >= job.ends
    state = "Failed" if job.failed else "Succeeded"
    archive = vault.archives.get(job.archive_id or "")
    aligned = archive and covers_a_branch(job.start, job.stop, len(archive.body))
    return {
        "Action": job.action,
        "ArchiveId": job.archive_id,
        "ArchiveSHA256TreeHash": archive.tree_hash if archive else None,
        "ArchiveSizeInBytes": len(archive.body) if archive else None,
        "Completed": is_done,
        "CompletionDate": stamp(job.ends) if is_done else None,
        "CreationDate": stamp(job.created),
        "InventorySizeInBytes": len(job.output) if is_done and archive is None else None,
        "JobDescription": job.description,
        "JobId": job_id,
        "RetrievalByteRange": f"{job.start}-{job.stop - 1}" if archive else None,
        "SHA256TreeHash": tree(job.output) if archive and aligned else None,
        "SNSTopic": None,
        "StatusCode": state if is_done else "InProgress",
        "StatusMessage": job.failed or state if is_done else None,
        "Tier": job.tier,
        "VaultARN": "arn",
    }


def _describe_job(server: VaultServer, vault: Vault, asked: Asked, job_id: str) -> Reply:
    return _json(_shown(server, vault, job_id, _job(server, vault, job_id)))


def _list_jobs(server: VaultServer, vault: Vault, asked: Asked, _: str) -> Reply:
    page, marker = _page(asked, [j for j, job in vault.jobs.items() if server.now < job.ends + OUTPUT_KEPT])
    return _json({"JobList": [_shown(server, vault, j, vault.jobs[j]) for j in page], "Marker": marker})


def _output(server: VaultServer, vault: Vault, asked: Asked, job_id: str) -> Reply:
    job = _job(server, vault, job_id)
    if server.now < job.ends or job.failed:
        raise Refused("InvalidParameterValueException")
    start, stop, status = 0, len(job.output), 200
    headers = {"Content-Type": "application/octet-stream" if job.archive_id else "application/json"}
    if said := re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", "")):
        start, stop, status = int(said[1]), min(int(said[2]) + 1, len(job.output)), 206
        if start >= stop:
            raise Refused("InvalidParameterValueException")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(job.output)}"
    body = job.output[start:stop]
    archive = vault.archives.get(job.archive_id or "")
    if archive:
        headers["x-amz-archive-description"] = archive.description
        if covers_a_branch(job.start + start, job.start + stop, len(archive.body)):
            headers["x-amz-sha256-tree-hash"] = tree(body)
    return Reply(status, {**headers, "Accept-Ranges": "bytes"}, body)


_V = r"/(?:-|\d{12})/vaults/(?P<vault>[A-Za-z0-9._-]+)"
_Act = Callable[[VaultServer, Vault, Asked, str], Reply]
_ROUTES: tuple[tuple[str, str, _Act], ...] = (
    ("GET", _V, _describe_vault),
    ("POST", rf"{_V}/archives", _upload_archive),
    ("POST", rf"{_V}/multipart-uploads", _begin_upload),
    ("GET", rf"{_V}/multipart-uploads", _list_uploads),
    ("PUT", rf"{_V}/multipart-uploads/(?P<id>[\w-]+)", _put_part),
    ("POST", rf"{_V}/multipart-uploads/(?P<id>[\w-]+)", _finish_upload),
    ("GET", rf"{_V}/multipart-uploads/(?P<id>[\w-]+)", _list_parts),
    ("DELETE", rf"{_V}/multipart-uploads/(?P<id>[\w-]+)", _abort_upload),
    ("POST", rf"{_V}/jobs", _start_job),
    ("GET", rf"{_V}/jobs", _list_jobs),
    ("GET", rf"{_V}/jobs/(?P<id>[\w-]+)", _describe_job),
    ("GET", rf"{_V}/jobs/(?P<id>[\w-]+)/output", _output),
)


def _handler(server: VaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            asked = Asked(self.command, parts.path, query, headers, body)
            server.asked.append(asked)
            fault = server.fault_for(asked)
            try:
                if fault is not None and fault.status:
                    raise Refused(fault.code, fault.status)
                reply = server.answer(asked)
            except Refused as refused:
                reply = _json(refused.body, refused.status)
            self._give(reply, fault)

        def _give(self, reply: Reply, fault: Fault | None) -> None:
            body = bytearray(reply.body)
            if fault is not None:
                if fault.flip_at is not None:
                    body[fault.flip_at] ^= 1
                if fault.tree_hash is not None:
                    reply.headers["x-amz-sha256-tree-hash"] = fault.tree_hash
            self.send_response(reply.status)
            for name, value in {"x-amzn-RequestId": "r", **reply.headers}.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault is not None and fault.cut_at is not None:
                self.close_connection = True
                body = body[: fault.cut_at]
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  names of the base class

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler
