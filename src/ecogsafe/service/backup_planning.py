"""What a ``backup`` sends where: each file once, for all places that lack it, and cleared where it goes plain."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace

from ecogsafe.core.errors import NotClearedError, StoreError
from ecogsafe.core.events import Item
from ecogsafe.service.backup_places import Goal
from ecogsafe.service.backup_subjects import Outbox
from ecogsafe.service.connections import Connection
from ecogsafe.service.gate import Gate, Refusal
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.running import Run
from ecogsafe.service.second_look import Content
from ecogsafe.service.upload_planning import Planner, refuse_overfull, tell_plan
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_order import Cleared, FileOrder
from ecogsafe.transfer.work import Shipment


def plan_backup(run: Run, context: TransferContext, goals: Sequence[Goal], outbox: Outbox, root: int) -> list[Shipment]:
    """Return one shipment for each file that some place lacks, for all of them, in the order of the subjects.

    A place that fails while it is asked is told of and left out; so is a subject of which a file that would go
    plain is not cleared.

    Parameters
    ----------
    root
        Descriptor of DIR.

    Raises
    ------
    InterruptedRunError
        The run was told to stop.
    """
    planned: list[Shipment] = []
    read: dict[str, Content] = {}
    for goal in goals:
        if goal.connection is not None and goal.is_open and not goal.destination.archive:
            planned += _plan_place(run, context, goal, goal.connection, outbox, root, read)
    files = {file.shown: file for data_type in outbox.found for file in outbox.files(data_type)}
    return _cleared(run, _joined(planned), files, outbox, root)


def _plan_place(
    run: Run,
    context: TransferContext,
    goal: Goal,
    connection: Connection,
    outbox: Outbox,
    root: int,
    read: MutableMapping[str, Content],
) -> list[Shipment]:
    planners: list[Planner] = []
    try:
        for data_type in goal.destination.types:
            planner = Planner(run, context, connection, goal.request(outbox.folder, data_type), {}, root, read=read)
            planners.append(planner)
            for file in outbox.files(data_type):
                run.check_stop(safe="Nothing was sent")
                planner.add(file)
        shipments = [shipment for planner in planners for shipment in planner.plan.shipments]
        refuse_overfull(run, connection, shipments)
    except StoreError as error:
        goal.fail(run, error)
        return []
    for planner in planners:
        tell_plan(run, planner.plan, dry_run=False)
    return shipments


def _joined(shipments: Sequence[Shipment]) -> list[Shipment]:
    """Return one shipment for each file; a store that two destinations name gets it once."""
    joined: dict[tuple[str, str], Shipment] = {}
    for new in shipments:
        known = joined.setdefault((new.tree, new.path), new)
        (place,) = new.places
        if known is not new and place.store_id not in {p.store_id for p in known.places}:
            joined[new.tree, new.path] = replace(known, keys={**known.keys, **new.keys}, places=(*known.places, place))
    return sorted(joined.values(), key=lambda s: (s.subject, s.tree, s.segment or 0, s.path))


def _cleared(
    run: Run, shipments: Sequence[Shipment], files: dict[str, OutgoingFile], outbox: Outbox, root: int
) -> list[Shipment]:
    """Let every file that goes plain anywhere pass the gate; a subject with one that does not stays here."""
    gate = Gate(run.catalog)
    passed: list[Shipment] = []
    refusals: dict[str, list[Refusal]] = {}
    for shipment in shipments:
        run.check_stop(safe="Nothing was sent")
        if all(place.sealed for place in shipment.places):
            passed.append(shipment)
            continue
        verdict = gate.judge(files[f"{shipment.tree}/{shipment.path}"], root)
        if isinstance(verdict, Refusal):
            refusals.setdefault(shipment.subject, []).append(verdict)
            _tell_refusal(run, verdict)
        else:
            passed.append(_watched(shipment, verdict))
    for code, why in refusals.items():
        outbox.refuse(run, code, _not_cleared(code, why))
    return [shipment for shipment in passed if shipment.subject not in refusals]


def _watched(shipment: Shipment, cleared: Cleared) -> Shipment:
    """Return the shipment with the one full read of its file compared with what was cleared."""
    if shipment.order is None:
        return shipment
    order: FileOrder = replace(shipment.order, cleared=cleared)
    return replace(shipment, order=order, open_source=order.open, text_watch=order.watch)


def _tell_refusal(run: Run, refusal: Refusal) -> None:
    file = refusal.file
    run.tell(
        Item(
            action="gate",
            status="failed",
            subject=file.parts.code,
            segment=file.parts.number,
            path=file.shown,
            message=refusal.reason,
        )
    )


def _not_cleared(code: str, refusals: Sequence[Refusal]) -> NotClearedError:
    first = refusals[0]
    more = f" and {len(refusals) - 1} more files" if len(refusals) > 1 else ""
    return NotClearedError(
        f"{first.file.shown}{more}",
        first.reason,
        safe=f"Nothing of {code} was sent in this run; the other subjects were not held up",
        next=f"ecogsafe deid scan DIR --subject {code} (search it now), or seal it (encrypt = true in config.toml)",
    )
