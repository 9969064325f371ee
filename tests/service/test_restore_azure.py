"""`restore` out of Azure's Archive tier: prices and times of its own, moved for good, asked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.core.errors import ExitStatus
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.price_table import AZURE, GB, load_price_table
from ecogsafe.service.restore_offers import Group, Offers
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.stores.store_id import create_store_id
from ecogsafe.stores.thawing import Tier
from tests.service.cold_store import ColdMemory
from tests.service.small_lab import CODES, Ended, SmallLab, StoresInMemory
from tests.service.test_restore import CODE, FILES, RECORDINGS, Asked, back, bring, index_of, volume

URL = "azure://lab-deep"


@pytest.fixture
def frozen(small_lab: SmallLab, in_memory: StoresInMemory) -> ColdMemory:
    """Two volumes of one subject in the tier Archive, their indexes beside them in Hot."""
    store = ColdMemory(URL)
    in_memory.add(URL, store)
    create_store_id(store)
    for kind, files in (("vid", FILES), ("edf", RECORDINGS)):
        made = volume(small_lab, files, kind)
        for key, data, tier in (
            (made.key, made.data, "Archive"),
            (made.index_key, index_of(small_lab, made), "Hot"),
        ):
            store.put(key, data, crc64=crc64nvme(data), token="0" * 32, storage_class=tier)
    return store


def prices(ended: Ended) -> list[str]:
    return [item.message for item in ended.items(action="price")]


def test_the_price_and_the_time_of_both_speeds_are_shown_before_it_asks(
    small_lab: SmallLab, frozen: ColdMemory
) -> None:
    asked = Asked(answer=False)
    ended = bring(small_lab, asked, url=URL)
    assert ended.status is ExitStatus.USAGE
    assert frozen.requests == [], "something was asked of the store before anybody said yes"
    told = prices(ended)
    assert any("2 objects of Archive by Standard: ready up to 15 hours" in line for line in told), told
    assert any("by Expedited (High): ready in 1-15 hours" in line for line in told), told
    assert any("a month in Hot" in line for line in told)
    assert any("stays there until somebody moves it back" in line and "180 days" in line for line in told)
    assert any(load_price_table(provider=AZURE).date.isoformat() in line for line in told)
    (question,) = asked.questions
    assert "by Standard" in question and "15 hours" in question and "moved to Hot for good" in question


def test_it_comes_back_in_the_second_run(small_lab: SmallLab, frozen: ColdMemory) -> None:
    first = bring(small_lab, url=URL)
    assert first.status is ExitStatus.COLD
    assert {tier for _, tier, _ in frozen.requests} == {"Standard"}
    too_early = bring(small_lab, url=URL)
    assert too_early.status is ExitStatus.COLD
    assert any("2 objects of Archive: thawing already" in line for line in prices(too_early)), prices(too_early)
    frozen.ready()
    last = bring(small_lab, url=URL)
    assert last.status is ExitStatus.DONE
    assert any("can be read at once" in line for line in prices(last)), prices(last)
    assert set(back(small_lab)) == set(FILES | RECORDINGS)
    assert len(frozen.requests) == 2, "something was asked for twice"


@pytest.mark.parametrize(
    ("tier", "asked"), [("Bulk", "Standard"), ("Standard", "Standard"), ("Expedited", "Expedited")]
)
def test_every_word_of_the_command_line_is_taken(
    small_lab: SmallLab, frozen: ColdMemory, tier: Tier, asked: Tier
) -> None:
    assert bring(small_lab, url=URL, tier=tier).status is ExitStatus.COLD
    assert {t for _, t, _ in frozen.requests} == {asked}


def test_what_two_archives_of_300_gb_cost_by_hand(small_lab: SmallLab, tmp_path: Path) -> None:
    request = RestoreRequest(subject=CODE, url=URL, folder=tmp_path)
    group = Group(storage_class="Archive", objects=2, size=300 * GB, fetched=150 * GB, is_frozen=True)

    def tell(run: object) -> None:
        offers = Offers(run, request, load_price_table(provider=AZURE), is_priced=True)  # type: ignore[arg-type]
        offers.tell([group])

    ended = small_lab.run("restore", tell)
    slow, fast, moving, _ = ended.items(action="price")
    # 300 x 0.022 + two changes of tier and reads + 300 x 0.0184 + (150 - 100) x 0.087
    assert slow.details["total"].startswith("16.471")
    assert "USD 16.47" in slow.message and "retrieval USD 6.60" in slow.message
    # 300 x 0.10 and dearer changes of tier, all else the same
    assert fast.details["total"].startswith("39.88")
    # 300 x 0.002 x 6 months
    assert "here at most USD 3.60 more" in moving.message


def test_a_folder_sends_no_bill(small_lab: SmallLab) -> None:
    for code in CODES:
        small_lab.avi(code, 1)
    small_lab.clear()
    small_lab.upload("v")
    ended = bring(small_lab, url=small_lab.folder_store())
    assert ended.status is ExitStatus.DONE, ended.error
    assert prices(ended) == []
