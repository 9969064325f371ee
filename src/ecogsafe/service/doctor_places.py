"""One place: reached, written to, read back, and what it is about to do with the data."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from contextlib import suppress

from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.config import Destination
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, ObjectExistsError
from ecogsafe.core.events import Event, EventSink
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.connections import CLOCKS_APART_S, Connection, connected, one_url
from ecogsafe.service.doctor_bucket import check_bucket
from ecogsafe.service.doctor_report import Report
from ecogsafe.service.folder_access import access_of
from ecogsafe.service.home import Home
from ecogsafe.service.inventory_orphans import Orphans
from ecogsafe.service.key_backup import key_copies
from ecogsafe.service.running import Run
from ecogsafe.stores.open import parse_store_url
from ecogsafe.stores.protocol import OWN_PREFIX, Store
from ecogsafe.stores.retrying import Backoff

#: the probes of `doctor`, one a day
PROBES = f"{OWN_PREFIX}probe/"
_PROBE_BYTES = 4096
_BRIEFLY = Backoff(attempts=2)
#: less than this much room in a folder is told as wrong
LEAST_FREE_BYTES = 10_000_000_000
#: stems of the key copies, and the files of the home that they are copies of
_KEYS = (("lab-key", "lab-key.age"), ("linking-key", "linking-key.age"), ("recipients", "recipients.txt"))


def check_place(
    report: Report,
    home: Home,
    catalog: Catalog,
    place: Destination,
    emit: EventSink,
    stop: threading.Event | None = None,
) -> bool:
    """Tell of one place; return whether data could go there now."""
    name = place.name
    try:
        with connected(
            catalog, place.url, name=name, sse=place.sse, stop=stop, backoff=_BRIEFLY, access=access_of(place)
        ) as connection:
            report.good("reach", "can be reached, and is the store it was", store=name)
            can_write = _check_probe(report, connection.store, name)
            _check_unfinished(report, home, catalog, connection, name)
            if one_url(place.url) in {one_url(url) for url in home.settings().key_backup_urls()}:
                _check_keys(report, home, connection.store, name)
        _check_room(report, place)
        if place.url.startswith("s3://"):
            check_bucket(report, place)
    except InterruptedRunError:
        raise
    except EcogsafeError as error:
        report.error("reach", error, store=name)
        return False
    return can_write


def probe_of(day: str) -> bytes:
    """Return the probe of a day: the same for everybody, so that whoever comes second can compare it."""
    seed = hashlib.sha256(f"ecogsafe probe {day}".encode()).digest()
    return b"".join(hashlib.sha256(seed + bytes([n])).digest() for n in range(_PROBE_BYTES // len(seed)))


def _check_probe(report: Report, store: Store, name: str) -> bool:
    """Write, ask for the checksum, read back. A store has no delete: a second run of a day uses the same probe."""
    day = utc_stamp()[:10]
    key, data = f"{PROBES}{day}", probe_of(day)
    crc64 = crc64nvme(data)
    try:
        # one that stands there was written today, and a store asks who may write before it says so
        with suppress(ObjectExistsError):
            store.put(key, data, crc64=crc64, token=secrets.token_hex(16))
        info = store.head(key, checksum=True)
        back = b"".join(store.read(key))
    except InterruptedRunError:
        raise
    except EcogsafeError as error:
        report.error("probe", error, store=name)
        return False
    if info is None or back != data or info.crc64 not in (None, crc64):
        report.bad("probe", "a probe did not come back as it was written", "use another store, and tell us", store=name)
        return False
    if info.crc64 is None:
        report.note(
            "probe",
            "a probe came back as it was written, but the store tells no checksum of its own: "
            "copies there count as stored, not as proven",
            store=name,
        )
    else:
        report.good("probe", f"a probe was written and read back, and its checksum is right ({key})", store=name)
    if info.store_date is not None and info.checked_at is not None:
        ahead_s = (info.checked_at - info.store_date).total_seconds()
        if abs(ahead_s) > CLOCKS_APART_S:
            text = f"the clock here is {round(ahead_s / 60):+} min off the store's"
            report.bad("clock", text, "set the clock (timedatectl set-ntp true)", store=name)
        else:
            report.good("clock", "the clocks agree", store=name)
    return True


def _check_unfinished(report: Report, home: Home, catalog: Catalog, connection: Connection, name: str) -> None:
    told: list[Event] = []
    orphans = Orphans(Run(home=home, catalog=catalog, command="doctor", emit=told.append), connection, None, ())
    orphans.look()
    if not orphans.found:
        return
    total = sum(u.bytes for u in orphans.found)
    report.note(
        "unfinished uploads",
        f"{len(orphans.found):,} unfinished uploads hold {total:,} bytes, which are paid for",
        f"ecogsafe inventory {connection.store.url} tells which can be continued",
        store=name,
    )


def _check_keys(report: Report, home: Home, store: Store, name: str) -> None:
    """Compare the newest copies of the keys with the home's, byte for byte."""
    behind = []
    for stem, file in _KEYS:
        path = home.root / file
        if not path.exists():
            continue
        data, copies = path.read_bytes(), key_copies(store, stem)
        if not copies or b"".join(store.read(copies[-1].key)) != data:
            behind.append(file)
    if behind and not home.linking_key.exists():
        report.note("key copies", "the keys are copied there with the first de-identification", store=name)
    elif behind:
        fix = "ecogsafe deid apply renews the copies, and so do ecogsafe subjects add and import"
        report.bad("key copies", f"no copy of the present {', '.join(behind)} is there", fix, store=name)
    else:
        report.good("key copies", "holds the present keys, read back and compared", store=name)


def _check_room(report: Report, place: Destination) -> None:
    folder = parse_store_url(place.url).folder
    if folder is None:
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        report.bad(
            "room", "the folder cannot be written to", "mount it for writing, or correct its rights", store=place.name
        )
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < LEAST_FREE_BYTES:
        report.bad("room", f"only {free:,} bytes are free", "make room, or use another disk", store=place.name)
    elif disk.f_blocks:
        report.good("room", f"{free:,} bytes are free", store=place.name)
