"""Sends the clips of a folder, sealed, to several stores with one read: what `ecogsafe backup` does for a user.

python -m benchmarks.three_destinations HOME FOLDER URL URL URL
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from ecogsafe.service.connections import connected
from ecogsafe.service.home import Home
from ecogsafe.service.outgoing import find_outgoing
from ecogsafe.service.running import Run, running
from ecogsafe.service.upload import _context, _descriptor
from ecogsafe.service.upload_planning import Planner
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Shipment, Status


def _shipments(run: Run, ledger: Ledger, folder: Path, urls: list[str], stack: ExitStack) -> list[Shipment]:
    """Return one shipment a file, for all places: each is planned as `upload` plans it, and then they are one."""
    root = stack.enter_context(_descriptor(folder))
    recipients = run.home.recipients(run.catalog)
    files = find_outgoing(folder, "v").files
    plans = []
    for url in urls:
        request = UploadRequest(folder=folder, url=url, data_type="v").completed(run.home.settings())
        connection = stack.enter_context(connected(run.catalog, url))
        planner = Planner(run, _context(run, ledger, recipients), connection, request, {}, root)
        for file in files:
            planner.add(file)
        plans.append(planner.plan.shipments)
    return [
        replace(alike[0], places=tuple(place for shipment in alike for place in shipment.places))
        for alike in zip(*plans, strict=True)
    ]


def main() -> None:
    """Send, and end with 1 unless every file stands proven at every place."""
    home, folder, *urls = sys.argv[1:]
    with running(Home(Path(home)), "backup", lambda _event: None) as run, closing(Ledger(run.catalog)) as ledger:
        with ExitStack() as stack:
            shipments = _shipments(run, ledger, Path(folder), urls, stack)
            context = _context(run, ledger, run.home.recipients(run.catalog))
            outcomes = list(send_all(context, shipments))
        proven = sum(outcome.status is Status.DONE and outcome.proven for outcome in outcomes)
    print(f"{proven} proven of {len(shipments)} files at {len(urls)} places")
    sys.exit(0 if shipments and proven == len(shipments) * len(urls) else 1)


if __name__ == "__main__":
    main()
