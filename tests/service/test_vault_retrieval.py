"""``restore CODE --from glacier://VAULT``: asked for once, fetched by ranges, proven, and never in doubt."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import audit, vaults
from ecogsafe.core.errors import (
    ConfirmationNeededError,
    InterruptedRunError,
    NoSpaceError,
    StoreRefusedError,
    UsageError,
    VerificationError,
)
from ecogsafe.crypt.tree_hash import LEAF_BYTES as MIB
from ecogsafe.crypt.tree_hash import tree_hash
from ecogsafe.service import vault_retrieval
from ecogsafe.service.vault_choosing import VaultRestoreRequest
from ecogsafe.service.vault_receiving import RANGE_BYTES
from ecogsafe.service.vault_retrieval import restore_from_vault
from ecogsafe.stores.glacier_vault import GlacierVault
from ecogsafe.transfer import durable_ranges
from tests.service.old_vaults import RECORDINGS, URL, VAULT, VIDEO, OldLab, old
from tests.service.small_lab import CODES

__all__ = ["old"]
KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "3"))


@pytest.fixture
def listed(old: OldLab) -> OldLab:
    old.listed()
    return old


def test_asked_for_in_one_run_and_fetched_in_a_later_one(listed: OldLab) -> None:
    first = listed.restore()
    assert first.status == 31
    (question,) = listed.asked
    assert "2 archives" in question
    assert "Bulk" in question
    assert [i.details["tier"] for i in first.items(action="cost")] == ["Bulk", "Standard", "Expedited"]
    assert len(first.items(action="restore", status="planned")) == 2
    assert listed.restore().status == 31
    assert (listed.asked_for(), len(listed.asked), listed.here()) == (2, 1, {})
    listed.server.advance(hours=9)
    done = listed.restore()
    assert done.status == 0
    assert listed.here() == {name: listed.bodies[name] for name in (VIDEO, RECORDINGS)}
    assert sorted(i.digest or "" for i in done.items(status="done")) == sorted(
        tree_hash(listed.bodies[name]) for name in (VIDEO, RECORDINGS)
    )
    assert list(listed.back.glob(".*")) == []
    assert {r.key for r in listed.rows() if r.restored_at} == {VIDEO, RECORDINGS}
    with listed.small.reading() as tx:
        acts = [(row.act, row.object, row.subject) for row in audit.recent(tx, 20)]
        assert audit.check(tx) == []
    assert acts.count(("restore", VIDEO, CODES[0])) == 1
    assert acts.count(("ask for retrieval", VIDEO, CODES[0])) == 1


def test_what_is_here_and_right_is_kept_and_what_differs_is_never_replaced(listed: OldLab) -> None:
    (listed.back / VIDEO).write_bytes(listed.bodies[VIDEO])
    (listed.back / RECORDINGS).write_bytes(b"mine")
    done = listed.restore()
    assert (done.status, done.keys("present"), done.keys("skipped")) == (3, [VIDEO], [RECORDINGS])
    assert (listed.here()[RECORDINGS], listed.asked_for()) == (b"mine", 0)


def test_a_vault_that_was_not_listed_is_listed_first(old: OldLab) -> None:
    old.server.advance(hours=25)
    assert old.restore().status == 31
    assert (old.asked, old.asked_for()) == ([], 0)
    old.server.advance(hours=5)
    assert old.restore().status == 31
    assert old.asked_for() == 2


def test_single_archives_by_name_or_id_and_the_newest_of_each_name(listed: OldLab) -> None:
    older = listed.archive_id(VIDEO)
    body = listed.bodies[VIDEO]
    listed.server.advance(hours=1)
    newer = listed.add(VIDEO, 40, seed=2)
    listed.listed()
    done = listed.restore(names=("*_vid*",))
    (note,) = [i for i in done.items(action="restore", status="note") if i.key]
    assert older in note.message
    asked = [job.archive_id for job in listed.server.vaults[VAULT].jobs.values() if job.archive_id]
    assert asked == [newer]
    assert listed.restore(names=(older,)).status == 31
    listed.server.advance(hours=9)
    assert listed.restore(names=(older,)).status == 0
    assert listed.here() == {VIDEO: body}


def test_no_means_no(listed: OldLab) -> None:
    def refuse(_question: str) -> None:
        raise ConfirmationNeededError("this command", "was not confirmed")

    request = VaultRestoreRequest(subject=CODES[0], url=URL, folder=listed.back)
    done = listed.small.run("restore", lambda run: restore_from_vault(run, request, refuse))
    assert done.status == 2
    assert listed.asked_for() == 0


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"code": "not-a-code"}, "subject code"),
        ({"code": "fade1234"}, "has no archive of it"),
        ({"names": ("*_txt*",)}, "that fits -f"),
        ({"tier": "Overnight"}, "no such tier"),
    ],
)
def test_what_cannot_be(listed: OldLab, wish: dict[str, object], told: str) -> None:
    done = listed.restore(**wish)  # type: ignore[arg-type]
    assert isinstance(done.error, UsageError)
    assert told in str(done.error)
    assert listed.asked_for() == 0


def test_a_folder_that_is_not_there_and_a_disk_that_is_too_small(listed: OldLab) -> None:
    full = os.statvfs_result((4096, 4096, 10, 1, 1, 10, 5, 5, 0, 255))
    with mock.patch.object(vault_retrieval.os, "statvfs", return_value=full):
        assert isinstance(listed.restore().error, NoSpaceError)
    listed.back.rmdir()
    listed.back.write_text("something in the way")
    assert isinstance(listed.restore().error, UsageError)
    assert listed.asked_for() == 0


def test_an_output_that_expired_is_asked_for_again_and_so_is_the_person(listed: OldLab) -> None:
    listed.ready()
    listed.server.advance(hours=24)
    done = listed.restore()
    assert done.status == 31
    assert sum("threw it away" in i.message for i in done.items(status="note")) == 2
    assert (listed.asked_for(), len(listed.asked)) == (4, 2)


def test_an_output_that_expires_while_it_is_read_keeps_what_came(
    listed: OldLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_ranges, "_BATCH_BYTES", 1)
    listed.ready()
    real = listed.server.answer

    def forgetful(asked: object) -> object:
        if getattr(asked, "headers").get("range", "").startswith(f"bytes={RANGE_BYTES}-"):  # noqa: B009
            listed.server.advance(hours=24)
        return real(asked)  # type: ignore[arg-type]

    with (
        mock.patch.object(listed.server, "answer", forgetful),
        mock.patch.object(vault_retrieval.VaultReception, "_fetch", _one_by_one(vault_retrieval.VaultReception._fetch)),
    ):
        done = listed.restore(names=("*_vid*",))
    assert done.status == 31
    assert "asks for it again" in str([i.message for i in done.items(status="planned")])
    assert (listed.here(), len(list(listed.back.glob(".*.ecogsafe-part")))) == ({}, 1)
    assert listed.restore(names=("*_vid*",)).status == 31
    listed.server.advance(hours=9)
    listed.server.asked.clear()
    assert listed.restore(names=("*_vid*",)).status == 0
    assert listed.server.count("/output") == 1
    assert listed.here() == {VIDEO: listed.bodies[VIDEO]}


def _one_by_one(real: object) -> object:
    def fetch(self: object, kept: set[int]) -> None:
        with mock.patch("ecogsafe.service.vault_receiving.CONNECTIONS", 1):
            real(self, kept)  # type: ignore[operator]

    return fetch


def test_a_policy_or_a_missing_archive_fails_that_archive_only(listed: OldLab) -> None:
    listed.server.policy_bytes = 3 * MIB
    done = listed.restore()
    assert done.status == 31
    assert [e.code for e in done.errors()] == ["store-refused"]
    assert listed.asked_for() == 1
    listed.server.advance(hours=9)
    done = listed.restore()
    assert done.status == 3
    assert listed.here() == {RECORDINGS: listed.bodies[RECORDINGS]}


def test_no_room_for_expedited(listed: OldLab) -> None:
    listed.server.is_crowded = True
    done = listed.restore(tier="Expedited")
    assert isinstance(done.error, StoreRefusedError)
    assert "--tier Standard" in done.error.next
    listed.server.is_crowded = False
    assert listed.restore(tier="Expedited").status == 31


def test_a_lost_answer_and_a_killed_run_cost_no_second_retrieval(listed: OldLab) -> None:
    with mock.patch.object(vaults, "job_begun", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        listed.restore()
    assert listed.asked_for() == 1
    assert listed.restore().status == 31
    assert listed.asked_for() == 2


# bytes that are not right


def test_a_range_that_came_damaged_is_fetched_again(listed: OldLab) -> None:
    listed.ready()
    listed.server.fail(match="/output", flip_at=MIB + 3)
    listed.server.fail(match="/output", cut_at=12345)
    listed.server.fail(match="/output", status=503, code="ServiceUnavailableException")
    assert listed.restore().status == 0
    assert listed.here() == {name: listed.bodies[name] for name in (VIDEO, RECORDINGS)}


def test_a_range_that_is_always_damaged_becomes_no_file(listed: OldLab) -> None:
    listed.ready()
    for _ in range(20):
        listed.server.fail(match="/output", flip_at=5)
    done = listed.restore()
    assert done.status == 30
    assert {e.item for e in done.errors()} == {VIDEO, RECORDINGS}
    assert listed.here() == {}
    listed.server.faults.clear()
    assert listed.restore().status == 0


def test_a_wrong_digest_in_the_answer_is_no_proof(listed: OldLab) -> None:
    listed.ready()
    for _ in range(20):
        listed.server.fail(match="/output", tree_hash="00" * 32)
    done = listed.restore()
    assert done.status == 30
    assert all("another tree hash" in e.message for e in done.errors())
    assert listed.here() == {}


def test_damage_that_the_store_vouches_for_is_seen_in_the_whole(listed: OldLab) -> None:
    listed.ready()
    for archive in listed.server.vaults[VAULT].archives.values():
        archive.tree_hash = tree_hash(archive.body)
    for job in listed.server.vaults[VAULT].jobs.values():
        if job.archive_id:
            body = bytearray(job.output)
            body[-1] ^= 1
            job.output = bytes(body)
    real = listed.server.answer

    def vouching(asked: object) -> object:
        reply = real(asked)  # type: ignore[arg-type]
        if b"SHA256TreeHash" in reply.body:
            reply.body = reply.body.replace(b'"SHA256TreeHash"', b'"Nothing"')
        return reply

    with mock.patch.object(listed.server, "answer", vouching):
        done = listed.restore()
    assert done.status == 30
    assert all("of the vault's list" in e.message for e in done.errors())
    assert list(listed.back.iterdir()) == []


def test_a_store_that_tells_another_digest_than_its_list_is_not_read(listed: OldLab) -> None:
    listed.ready()
    for job in listed.server.vaults[VAULT].jobs.values():
        job.output = b"x" + job.output[1:] if job.archive_id else job.output
    listed.server.asked.clear()
    done = listed.restore()
    assert isinstance(done.error, VerificationError) or done.status == 30
    assert listed.server.count("/output") == 0
    assert listed.here() == {}


def test_an_output_of_another_length_becomes_no_file(listed: OldLab) -> None:
    listed.ready()
    real = listed.server.answer

    def silent(asked: object) -> object:
        reply = real(asked)  # type: ignore[arg-type]
        reply.body = reply.body.replace(b'"SHA256TreeHash"', b'"Nothing"')
        return reply

    for job in listed.server.vaults[VAULT].jobs.values():
        job.output = job.output[:-10] if job.archive_id else job.output
    with mock.patch.object(listed.server, "answer", silent):
        done = listed.restore()
    assert done.status == 30
    assert all("the store gives" in e.message for e in done.errors())
    assert listed.here() == {}


def test_a_range_that_is_longer_than_asked_becomes_no_file(listed: OldLab) -> None:
    listed.ready()
    real = GlacierVault.output

    def longer(self: GlacierVault, job_id: str, start: int, stop: int) -> Any:
        told = real(self, job_id, start, stop)
        return replace(told, body=chain(told.body, [b"more"]))

    with mock.patch.object(GlacierVault, "output", longer):
        done = listed.restore()
    assert done.status == 30
    assert all("gives more than bytes" in e.message for e in done.errors())
    assert listed.here() == {}


# runs that end early


def test_ctrl_c_keeps_what_came(listed: OldLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_ranges, "_BATCH_BYTES", 1)
    listed.ready()
    real = vault_retrieval.VaultReception._fetch_one

    def then_stop(self: vault_retrieval.VaultReception, number: int) -> None:
        real(self, number)
        self._stop.set()

    with (
        mock.patch.object(vault_retrieval.VaultReception, "_fetch_one", then_stop),
        mock.patch("ecogsafe.service.vault_receiving.CONNECTIONS", 1),
    ):
        done = listed.restore(names=("*_vid*",))
    assert isinstance(done.error, InterruptedRunError)
    listed.server.asked.clear()
    assert listed.restore(names=("*_vid*",)).status == 0
    assert listed.server.count("/output") == 1


def test_waiting_fetches_in_the_end(listed: OldLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_retrieval, "POLL_S", 0.01)
    real = listed.server.answer

    def ageing(asked: object) -> object:
        listed.server.advance(hours=1)
        return real(asked)  # type: ignore[arg-type]

    with mock.patch.object(listed.server, "answer", ageing):
        assert listed.restore(wait=True).status == 0
    assert set(listed.here()) == {VIDEO, RECORDINGS}
    assert listed.asked_for() == 2


_RUN = f"""
import sys, time
from pathlib import Path
from ecogsafe.service.home import Home
from ecogsafe.service.running import running
from ecogsafe.service import vault_receiving
from ecogsafe.service.vault_choosing import VaultRestoreRequest
from ecogsafe.service.vault_retrieval import restore_from_vault
from ecogsafe.stores.glacier_vault import GlacierVault
from ecogsafe.transfer import durable_ranges
durable_ranges._BATCH_BYTES = 1
vault_receiving.RANGE_BYTES = {MIB}
body = GlacierVault._body
def slowly(self, stream, expected):
    time.sleep(0.05)
    yield from body(self, stream, expected)
GlacierVault._body = slowly
request = VaultRestoreRequest(subject={CODES[0]!r}, url={URL!r}, folder=Path(sys.argv[2]), names=("*_vid*",))
with running(Home(Path(sys.argv[1])), "restore", lambda event: None) as run:
    restore_from_vault(run, request, lambda question: None)
    assert run.summary().exit_status == 0, run.summary()
"""


def test_killed_at_any_time_it_goes_on_and_asks_for_nothing_twice(listed: OldLab) -> None:
    numbers = random.Random(int(os.environ.get("ECOGSAFE_SEED", "7")))
    listed.ready()
    command = [sys.executable, "-c", _RUN, str(listed.small.home.root), str(listed.back)]
    kept = 0
    for _ in range(KILLS):
        run = subprocess.Popen(command, stderr=subprocess.PIPE)
        before = listed.server.count("/output")
        deadline = time.monotonic() + 30
        while listed.server.count("/output") < before + 5 and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.01)
        time.sleep(numbers.random() * 0.2)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        if not listed.here():
            kept = max(kept, sum(p.read_text().count("[") for p in listed.back.glob(".*.ecogsafe-ranges")))
    assert kept, "no kill met a file of which something was durable"
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert listed.here() == {VIDEO: listed.bodies[VIDEO]}
    assert list(Path(listed.back).glob(".*")) == []
    assert listed.asked_for() == 2
    assert listed.server.count("/output") < (KILLS + 1) * (len(listed.bodies[VIDEO]) // MIB + 1)
