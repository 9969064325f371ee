"""What of a subject a store holds: volumes, single objects, archives of the old script; and what of it is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ecogsafe.catalog import archives, copies
from ecogsafe.catalog.archives import MemberRow
from ecogsafe.core.errors import VerificationError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.download_planning import DownloadPlan, DownloadRequest, Wanted
from ecogsafe.service.restore_indexes import Indexes
from ecogsafe.service.restore_request import RestorePlan, RestoreRequest, Volume, may_be_cold
from ecogsafe.service.running import Run
from ecogsafe.service.shown_names import shown_path
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.archive.index import VolumeIndex
from ecogsafe.transfer.archive.unpacked import Wish, whole_seconds
from ecogsafe.transfer.archive.volume_reader import refused
from ecogsafe.transfer.archive.volumes import parse_volume_key

#: made by the lab's script: a tar file, compressed, then ``openssl enc -des``
_OLD = re.compile(r"(?:[^/]+/)*(?P<name>(?P<code>[a-f][0-9a-f]{7})_(?:vid|edf)\.tar\.gz\.enc)")


def plan_restore(run: Run, connection: Connection, request: RestoreRequest, indexes: Indexes) -> RestorePlan:
    """Return what is to be fetched; files that stand in the folder already are among it."""
    listed = {info.key: info for prefix in ("/", "_") for info in connection.store.list(f"{request.subject}{prefix}")}
    volumes = _volumes(run, connection, request, listed)
    wish = DownloadRequest(
        folder=request.folder, url=request.url, subjects=(request.subject,), globs=request.globs, jobs=request.jobs
    )
    plan = DownloadPlan(run, connection, wish)
    _correct_count(run, listed)
    missing = [*plan.missing, *_missing(run, connection, request, listed)]
    for volume in volumes:
        _open(run, volume, request, indexes, missing)
    old = _old(run, listed.values(), request)
    found = RestorePlan(volumes=volumes, singles=plan.wanted, old=old, missing=missing)
    _choose(run, found)
    return found


def _volumes(
    run: Run, connection: Connection, request: RestoreRequest, listed: Mapping[str, ObjectInfo]
) -> list[Volume]:
    """Return the volumes that stand there, the newest of each kind first."""
    with run.catalog.read() as tx:
        rows = {v.key: v for v in archives.volumes_of(tx, subject=request.subject, store_id=connection.store_id)}
        found: list[Volume] = []
        for key, info in listed.items():
            name = parse_volume_key(key)
            if name is None or name.is_index or name.subject != request.subject:
                continue
            row = rows.get(key)
            members = {} if row is None else {m.path: m for m in archives.members_of(tx, row.volume_id)}
            copy = copies.copy_by_key(tx, connection.store_id, key)
            found.append(Volume(info=info, copy=copy, row=row, members=members))
    return sorted(found, key=lambda volume: volume.key, reverse=True)


def _missing(
    run: Run, connection: Connection, request: RestoreRequest, listed: Mapping[str, ObjectInfo]
) -> list[VerificationError]:
    with run.catalog.read() as tx:
        rows = archives.volumes_of(tx, subject=request.subject, store_id=connection.store_id, state="stored")
    return [
        VerificationError(
            row.key,
            "is recorded as stored here, and is not there any more",
            safe="Other copies are not affected",
            next="ecogsafe status shows where else its files are",
        )
        for row in rows
        if row.key not in listed
    ]


def _correct_count(run: Run, listed: Iterable[str]) -> None:
    """Take archives out of the objects that `download` does not know."""
    ours = sum(parse_volume_key(key) is not None or _OLD.fullmatch(key) is not None for key in listed)
    left = run.counts.pop("foreign_objects", 0) - ours
    if left > 0:
        run.counts["foreign_objects"] = left


def _open(
    run: Run, volume: Volume, request: RestoreRequest, indexes: Indexes, missing: list[VerificationError]
) -> None:
    """Find out what is in ``volume``."""
    volume.index = indexes.find(volume)
    if volume.index is not None:
        strange = sum(not request.is_ours(member.path) for member in volume.index.members)
        if strange:
            problem = f"has an index with {strange} names that are not of our form, or another subject's"
            missing.append(refused(volume.key, problem))
            volume.contents = ()
            return
        volume.contents = _from_index(volume.index, volume.members)
    else:
        message = "there is no index of it that can be used: all of it is read"
        run.tell(Item(action="restore", status="note", key=volume.key, message=message))
        if volume.members and all(member.sha256 is not None for member in volume.members.values()):
            volume.contents = [_from_row(member) for member in volume.members.values()]
    if volume.contents is not None:
        volume.wishes = [wish for wish in volume.contents if request.selects(wish.path)]


def _from_index(index: VolumeIndex, known: Mapping[str, MemberRow]) -> list[Wish]:
    return [
        Wish(m.path, m.size, m.sha256, known[m.path].source.mtime_ns if m.path in known else whole_seconds(m.mtime))
        for m in index.members
    ]


def _from_row(member: MemberRow) -> Wish:
    return Wish(member.path, member.source.size, member.sha256, member.source.mtime_ns)


def _old(run: Run, listed: Iterable[ObjectInfo], request: RestoreRequest) -> list[Wanted]:
    found: dict[str, Wanted] = {}
    for info in listed:
        match = _OLD.fullmatch(info.key)
        if match is None or match["code"] != request.subject or not request.selects(match["name"]):
            continue
        if (shown := shown_path(info.key)) != info.key:
            # what is thawed is remembered by its key, and the catalogue holds no name
            message = "lies below a folder that may be called after a person: ecogsafe download --decrypt fetches it"
            run.tell(Item(action="restore", status="note", subject=request.subject, key=shown, message=message))
            continue
        target = PurePosixPath(match["name"])
        found[str(target)] = Wanted(
            info=info, target=target, sealed=False, copy=None, file=None, subject=request.subject
        )
    return list(found.values())


def _choose(run: Run, plan: RestorePlan) -> None:
    """Fetch every file once: from what is readable at once, else from the newest volume, else one by one."""
    taken: dict[str, str | None] = {str(w.target): w.expected_sha256 for w in plan.singles if not may_be_cold(w.info)}
    for volume in plan.volumes:
        fresh: list[Wish] = []
        for wish in volume.wishes:
            if wish.path not in taken:
                taken[wish.path] = wish.sha256
                fresh.append(wish)
            elif taken[wish.path] != wish.sha256:
                message = "an older volume holds another content of it, which is not restored"
                run.tell(Item(action="restore", status="note", key=volume.key, path=wish.path, message=message))
        volume.wishes = fresh
    plan.singles = [w for w in plan.singles if not may_be_cold(w.info) or str(w.target) not in taken]


def stands(request: RestoreRequest, path: str | PurePosixPath) -> bool:
    """Return whether something has this name in the folder."""
    return os.path.lexists(request.folder / path)
