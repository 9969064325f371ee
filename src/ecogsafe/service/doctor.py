"""``doctor``: what works here and what does not, place by place, and what to fix. Nothing is mended by it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import monotonic
from ecogsafe.core.config import Destination, Settings
from ecogsafe.core.errors import EcogsafeError, ExitStatus, InterruptedRunError
from ecogsafe.core.events import EventSink, Summary
from ecogsafe.service.connections import one_url
from ecogsafe.service.doctor_home import check_catalog, check_config, check_files, check_key
from ecogsafe.service.doctor_places import check_place
from ecogsafe.service.doctor_report import Report
from ecogsafe.service.doctor_tools import check_tools
from ecogsafe.service.home import Home, PasswordSource


def doctor(
    home: Home, emit: EventSink, *, password: PasswordSource | None = None, stop: threading.Event | None = None
) -> Summary:
    """Check this machine, the home and every place of the settings, and tell each answer as an item.

    Parameters
    ----------
    password
        Opens the lab key to prove that it works; None: it is only looked at.
    stop
        Ends it before the next place when it is set.
    """
    began, report = monotonic(), Report(emit)
    settings = check_config(report, home)
    check_tools(report, settings or Settings())
    check_files(report, home)
    with _catalog(report, home) as catalog:
        if catalog is not None:
            check_key(report, home, catalog, password)
        places = _places(settings) if settings is not None else []
        if places and catalog is None:
            report.note("places", f"{len(places)} places were not checked: that needs the catalogue")
            places = []
        reached = 0
        for place in places:
            if stop is not None and stop.is_set():
                raise InterruptedRunError("doctor", "was interrupted", next="ecogsafe doctor")
            if catalog is not None:
                reached += check_place(report, home, catalog, place, emit, stop)
    status = ExitStatus.PARTIAL if report.bad_count else ExitStatus.DONE
    if places and not reached:
        status = ExitStatus.STORE
    return Summary(
        command="doctor",
        exit_status=int(status),
        files={},
        bytes=0,
        seconds=round(monotonic() - began, 1),
        counts={"checks_good": report.good_count, "checks_bad": report.bad_count, "places": len(places)},
        message=f"to fix: {report.bad_count}" if report.bad_count else "all is well",
    )


@contextmanager
def _catalog(report: Report, home: Home) -> Iterator[Catalog | None]:
    if not home.is_initialised:
        yield None
        return
    try:
        catalog = home.open_catalog()
    except EcogsafeError as error:
        report.error("catalogue", error)
        yield None
        return
    try:
        check_catalog(report, catalog)
        yield catalog
    finally:
        catalog.close()


def _places(settings: Settings) -> list[Destination]:
    """Return the destinations, and the places of keys and indexes that are none."""
    known = {one_url(d.url) for d in settings.destination}
    others = [*settings.key_backup.urls, *(d.index_url for d in settings.destination if d.index_url is not None)]
    more = {one_url(url): url for url in others if one_url(url) not in known}
    return [*settings.destination, *(Destination(name=url, url=url) for url in more.values())]
