"""What is missing until everything is safe, each with the command that supplies it; from the catalogue alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ecogsafe.catalog.stores import StoreRow
from ecogsafe.catalog.sums import SubjectSums
from ecogsafe.core.config import Destination, Settings
from ecogsafe.service.connections import one_url
from ecogsafe.service.policy import Assessment, Location, Sample, Shortfall, assess, counts

_WORDS = {"stored": "stored", "checksum": "proven", "restored": "restored"}


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that keeps something from being safe."""

    #: None: it concerns everything
    subject: str | None
    message: str
    #: the command that supplies it
    next: str
    #: a copy is not what it ought to be, as against one that is not there yet or not proven yet
    is_bad: bool = False


def locations_of(stores: Iterable[StoreRow], settings: Settings) -> dict[str, Location]:
    """Return where each store is, and whether that is off site: not a folder, unless the config says otherwise."""
    told = {one_url(d.url): d.offsite for d in settings.destination if d.offsite is not None}
    return {s.store_id: Location(s.store_id, _place_of(s), told.get(s.url, s.kind != "file")) for s in stores}


def _place_of(store: StoreRow) -> str:
    if store.place is not None:
        return store.place
    if store.kind == "file":
        # not reached since devices are kept: until then all of these may be one disk
        return "device:unknown"
    scheme, _, rest = store.url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def assessments(
    sums: Sequence[SubjectSums], locations: Mapping[str, Location], settings: Settings, now: datetime
) -> list[Assessment]:
    """Return the verdict on every subject."""
    return [assess(each.subject, each.files, locations, settings.policy, now) for each in sums]


class Lacks:
    """Finds words and commands for what the policy misses.

    Parameters
    ----------
    stores
        Their URLs by id.
    """

    def __init__(self, settings: Settings, stores: Mapping[str, str], locations: Mapping[str, Location]) -> None:
        self._policy = settings.policy
        self._stores = stores
        self._locations = locations
        self._destinations: Mapping[str, Destination] = {one_url(d.url): d for d in settings.destination}

    def of_subject(self, found: Assessment, sums: SubjectSums, now: datetime) -> list[Lack]:
        """Return what keeps the subject from being safe."""
        if found.is_safe:
            return []
        code, word = found.subject, _WORDS[self._policy.level]
        lacks: list[Lack] = []
        for short, wanted, what in (
            (found.copies, self._policy.copies, f"{word} copies"),
            (found.offsite, self._policy.offsite, f"{word} copies off site"),
        ):
            if short is not None:
                text = f"{code}: {short.files:,} of {found.files:,} files have fewer than {wanted} {what}"
                note = self._note(sums, now, wanted)
                lacks.append(Lack(code, f"{text} (least: {short.least}){note}", self._supply(code, short, sums, now)))
        for store_id in found.unsampled:
            url = self._stores.get(store_id, store_id)
            text = f"{code}: {self._words(found.samples[store_id])} from {url} within "
            text += f"{self._policy.restored_within_days} days, so its copies do not count"
            lacks.append(Lack(code, text, self._bring_back(code, url, found.samples[store_id])))
        return lacks

    def _note(self, sums: SubjectSums, now: datetime, wanted: int) -> str:
        stores = {s.store_id for each in sums.files for s in each.held if counts(s, self._policy, now)}
        places = {self._locations[s].place for s in stores if s in self._locations}
        if len(stores) >= wanted > len(places):
            return "; those in one bucket or on one device count once"
        return ""

    def _supply(self, code: str, short: Shortfall, sums: SubjectSums, now: datetime) -> str:
        unproven = (s for each in sums.files for s in each.held if s.rank >= 0 and not counts(s, self._policy, now))
        store = next(unproven, None)
        if store is not None:
            url = self._stores.get(store.store_id, store.store_id)
            return f"ecogsafe verify {code} --store {url}" + (" --deep" if self._policy.level == "restored" else "")
        if short.freed_files:
            return f"ecogsafe download --from URL -d DIR -s {code}, then ecogsafe upload -d DIR --to a further place"
        if len(self._destinations) >= max(self._policy.copies, 1):
            return "ecogsafe backup"
        if self._destinations:
            return "ecogsafe backup; the config names fewer destinations than the policy wants copies"
        return "ecogsafe upload -d DIR --to a further place"

    def _words(self, sample: Sample) -> str:
        if sample.restored_files < sample.files_wanted:
            return f"{sample.restored_files:,} of the {sample.files_wanted:,} files it takes were brought back"
        if sample.kinds_missing:
            return f"nothing of the kind {', '.join(sample.kinds_missing)} was brought back"
        return f"{sample.restored_bytes:,} of the {sample.bytes_wanted:,} bytes it takes were brought back"

    def _bring_back(self, code: str, url: str, sample: Sample) -> str:
        destination = self._destinations.get(url)
        if destination is not None and destination.archive:
            return f"ecogsafe restore {code} --from {url} -d DIR"
        return f"ecogsafe verify {code} --store {url} --deep --sample {sample.percent}"
