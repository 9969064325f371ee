"""What an upload will send, what is there already, and what stands in the way; decided before the first byte."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecogsafe.catalog import uploads
from ecogsafe.core.errors import EcogsafeError, ExitStatus, InterruptedRunError, StoreError, StoreFullError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.presence import Listing, Need, Presence, judge, key_for
from ecogsafe.service.running import Run
from ecogsafe.service.second_look import Content, SecondLook
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.stores.open import parse_store_url
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_order import Cleared, FileOrder
from ecogsafe.transfer.needless import abandon_needless, keys_left_open
from ecogsafe.transfer.work import Place, Shipment

_DIFFERENT = "another content stands under this name; it is never replaced (--new-version keeps both)"
_BAD = "the copy under this name is known to be bad; it is never replaced (--new-version sends a good one beside it)"
_UNREAD = "an adopted object stands under this name, and nobody has read it yet: ecogsafe verify --deep does"


@dataclass(slots=True)
class UploadPlan:
    """What will be sent, and what will not and why."""

    shipments: list[Shipment] = field(default_factory=list)
    present: list[Item] = field(default_factory=list)
    different: list[Item] = field(default_factory=list)

    @property
    def bytes_total(self) -> int:
        """Source bytes to be sent."""
        return sum(s.size for s in self.shipments)


class Planner:
    """Judges file after file against one store.

    Parameters
    ----------
    cleared
        The text of every file that may go plain, by what messages call the file.
    root
        Descriptor of DIR.
    read
        What was read by now to be compared; the planners of several stores share it.
    """

    def __init__(
        self,
        run: Run,
        context: TransferContext,
        connection: Connection,
        request: UploadRequest,
        cleared: Mapping[str, Cleared],
        root: int,
        *,
        read: MutableMapping[str, Content] | None = None,
    ) -> None:
        self._run = run
        self._context = context
        self._connection = connection
        self._request = request
        self._cleared = cleared
        self._root = root
        self._read: MutableMapping[str, Content] = {} if read is None else read
        self._places = {
            sealed: Place(
                store=connection.store,
                store_id=connection.store_id,
                sealed=sealed,
                storage_class=request.storage_class,
                order=connection.order,
            )
            for sealed in (True, False)
        }
        self._listing = Listing(run.catalog, connection)
        self._left_open = keys_left_open(context, self._places[True])
        self.plan = UploadPlan()

    def add(self, file: OutgoingFile) -> None:
        """Judge ``file``; one that cannot be read now is told as failed, and the others go on.

        Raises
        ------
        StoreError, InterruptedRunError
            They stop the run.
        """
        place = self._places[self._request.seals(file)]
        key = key_for(file, sealed=place.sealed)
        shipment = self._shipment(file, key, place)
        try:
            self._listing.read(file.path.split("/", 1)[0] + "/", file.parts.code)
            presence = judge(self._listing, file, key)
            if presence.need is Need.READ:
                looking = SecondLook(self._context, shipment, place, record=not self._request.dry_run, read=self._read)
                presence = looking.judge(presence)
        except (StoreError, InterruptedRunError):
            raise
        except EcogsafeError as error:
            self._run.fail(error)
            return
        if presence.need in (Need.PRESENT, Need.DIFFERENT) and key in self._left_open and not self._request.dry_run:
            abandon_needless(self._context, place, key)
        self._decide(file, shipment, presence)

    def _decide(self, file: OutgoingFile, shipment: Shipment, presence: Presence) -> None:
        if presence.need is Need.PRESENT:
            self.plan.present.append(self._item(file, presence.key, "present", "already there and unchanged"))
        elif presence.need in (Need.SEND, Need.LOST):
            if presence.need is Need.LOST:
                note = "was there once and is gone: it is sent again"
                self._context.tell("upload", note, key=presence.key, store=self._connection.store.name)
            self.plan.shipments.append(shipment)
        elif self._request.new_version:
            versioned = self._listing.next_version(presence.key)
            self.plan.shipments.append(replace(shipment, keys={shipment.places[0].sealed: versioned}))
        else:
            is_bad = any(c.copy is not None and c.copy.bad_at is not None for c in presence.candidates)
            is_unread = any(c.file is not None and c.file.sha256 is None for c in presence.candidates)
            message = _BAD if is_bad else _UNREAD if is_unread else _DIFFERENT
            self.plan.different.append(self._item(file, presence.key, "skipped", message))

    def _item(self, file: OutgoingFile, key: str, status: str, message: str) -> Item:
        return Item(
            action="upload",
            status=status,
            subject=file.parts.code,
            segment=file.parts.number,
            path=file.shown,
            key=key,
            store=self._connection.store.name,
            bytes=file.status.st_size,
            message=message,
        )

    def _shipment(self, file: OutgoingFile, key: str, place: Place) -> Shipment:
        cleared = None if place.sealed else self._cleared.get(file.shown)
        order = FileOrder(self._root, file.below_dir, file.shown, cleared)
        return Shipment(
            tree=file.tree,
            path=file.path,
            subject=file.parts.code,
            segment=file.parts.number,
            size=file.status.st_size,
            keys={place.sealed: key},
            places=(place,),
            open_source=order.open,
            text_watch=order.watch,
            order=order,
        )


def tell_plan(run: Run, plan: UploadPlan, *, dry_run: bool) -> None:
    """Count and tell what is there already and what stands in the way; in a dry run also what would be sent."""
    for item in plan.present:
        run.tally.present += 1
        run.tell(item)
    for item in plan.different:
        run.tally.skipped += 1
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(item)
    for shipment in plan.shipments if dry_run else ():
        run.tell(
            Item(
                action="upload",
                status="planned",
                subject=shipment.subject,
                segment=shipment.segment,
                path=f"{shipment.tree}/{shipment.path}",
                key=next(iter(shipment.keys.values())),
                bytes=shipment.size,
            )
        )


def refuse_overfull(run: Run, connection: Connection, shipments: Sequence[Shipment]) -> None:
    """Raise StoreFullError if ``shipments`` do not fit into a folder; buckets are not asked.

    What an earlier run left half-way stands there already, nobody knows how much of it: it is not counted.
    """
    url = connection.store.url
    folder: Path | None = parse_store_url(url).folder
    if folder is None:
        return
    try:
        room = os.statvfs(folder)
    except OSError:
        # whoever writes there is told why
        return
    with run.catalog.read() as tx:
        begun = set(uploads.keys_with_open_uploads(tx, connection.store_id))
    needed = sum(s.size for s in shipments if not begun & set(s.keys.values()))
    free = room.f_bavail * room.f_frsize
    if room.f_blocks and needed > free:
        raise StoreFullError(
            url,
            f"{needed:,} bytes are to be sent and {free:,} are free",
            safe="Nothing was written to it",
            next="make room there and run again",
        )
