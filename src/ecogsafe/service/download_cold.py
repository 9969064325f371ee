"""What `download` says where nothing can be fetched at once: an archive may hold it, and `restore` brings it back."""

from __future__ import annotations

from ecogsafe.catalog import archives, stores
from ecogsafe.core.errors import UsageError
from ecogsafe.service.connections import one_url
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.running import Run
from ecogsafe.service.withdrawn import withdrawn_on


def nothing_that_fits(run: Run, request: DownloadRequest) -> UsageError:
    """Return the refusal, with the command for an archive that the catalogue knows to hold what was asked for."""
    withdrawn = withdrawn_on(run)
    with run.catalog.read() as tx:
        urls = {store.store_id: store.url for store in stores.all_stores(tx)}
        wanted = [
            row
            for row in archives.volumes_of(tx, state="stored")
            if archives.stands(tx, row)
            and row.store_id in urls
            and row.subject not in withdrawn
            and any(request.selects(row.subject, m.path, m.path) for m in archives.members_of(tx, row.volume_id))
        ]
    # one here first: that is the place that was meant
    wanted.sort(key=lambda row: (urls[row.store_id] != one_url(request.url), row.subject))
    if not wanted:
        return UsageError(request.url, "holds nothing that fits", next="ecogsafe status shows which subjects are where")
    first = wanted[0]
    more = len({row.subject for row in wanted}) - 1
    return UsageError(
        request.url,
        "holds nothing that fits and can be read at once; an archive holds it",
        next=f"ecogsafe restore {first.subject} --from {urls[first.store_id]} -d DIR"
        + (f" (and {more} further subjects)" if more else ""),
    )
