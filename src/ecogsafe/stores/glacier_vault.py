"""Amazon Glacier's old vaults (API 2012-06-01), read only: everything is a job that takes hours.

A job is asked for, runs at the store, and its output can be read for about a day after it has ended. Asking is not
repeatable by itself: each request carries a random word, and after a lost answer the store is asked for that word.

A vault is no `ecogsafe.stores.protocol.Store`: it has no names, no listing and no checksums but tree hashes. Those are
handed on as the store tells them; who reads compares.

References
----------
Amazon Glacier Developer Guide: InitiateJob, DescribeJob, ListJobs, GetJobOutput, DescribeVault.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ecogsafe.core.errors import InterruptedRunError, StoreError, StoreRefusedError, StoreUnreachableError
from ecogsafe.stores.retrying import Backoff, Wait
from ecogsafe.stores.s3_wire import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from ecogsafe.stores.vault_address import SCHEME, vault_name
from ecogsafe.stores.vault_errors import vault_errors

#: an output can be read this long after its job has ended; the guide: "at least 24 hours"
OUTPUT_KEPT = timedelta(hours=24)
#: how long an inventory takes; the guide: "typically within 3-5 hours"
INVENTORY_TAKES = timedelta(hours=4)
#: longest waits of the three ways of getting an archive; the guide, "Archive Retrieval Options"
TIER_TAKES = {
    "Expedited": timedelta(minutes=5),
    "Standard": timedelta(hours=5),
    "Bulk": timedelta(hours=12),
}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFacts:
    """What the store says of a vault; counts are as of the last inventory."""

    archives: int
    size: int
    #: None: no inventory was ever taken, so none can be had
    inventoried_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultJob:
    """A job as the store describes it."""

    job_id: str
    is_ended: bool
    #: it ended, and not well
    has_failed: bool
    ended_at: datetime | None
    #: of an archive's job: its digest over the output, where the output is a branch of the tree
    tree_hash: str | None
    #: the word it was asked for with
    token: str | None

    @property
    def readable_until(self) -> datetime | None:
        """When the store may throw the output away."""
        return None if self.ended_at is None else self.ended_at + OUTPUT_KEPT


@dataclass(frozen=True, slots=True)
class VaultOutput:
    """Bytes of a job's output, as they come."""

    #: of the whole output, bytes
    size: int
    #: what the store says of the bytes that were asked for; None where they are no branch of the tree
    tree_hash: str | None
    body: Iterator[bytes]


class Patience:
    """Pauses before another attempt; `Retrying` does the same for stores."""

    def __init__(
        self,
        name: str,
        *,
        backoff: Backoff | None = None,
        stop: threading.Event | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> None:
        self._name = name
        self._backoff = backoff or Backoff()
        self._stop = stop or threading.Event()
        self._on_wait = on_wait

    def wait(self, error: StoreError, failures: int) -> None:
        """Pause, or raise ``error`` where no further attempt can help.

        Raises
        ------
        InterruptedRunError
            The run was told to stop.
        """
        if not error.retry or failures >= self._backoff.attempts:
            raise error
        pause_s = self._backoff.pause_s(failures, random.random())  # noqa: S311  spreads attempts, hides nothing
        if self._on_wait is not None:
            self._on_wait(
                Wait(store=self._name, problem=error.problem, code=error.code, failures=failures, pause_s=pause_s)
            )
        if self._stop.wait(pause_s):
            raise InterruptedRunError(
                self._name,
                "was not asked again, the run was interrupted",
                safe="What was done until then is kept",
                next="run the same command again to continue",
            )


class GlacierVault:
    """One vault; threads may share it.

    Parameters
    ----------
    client
        A Glacier client of the SDK that makes one attempt a call.
    """

    def __init__(self, client: Any, vault: str, patience: Patience) -> None:
        self._client = client
        self._vault = vault
        self.url = f"{SCHEME}{vault}"
        self.patience = patience

    def _asked(self, call: Callable[[], Any], item: str | None = None) -> Any:
        failures = 0
        while True:
            try:
                with vault_errors(self.url, item):
                    return call()
            except StoreError as error:
                failures += 1
                self.patience.wait(error, failures)

    def facts(self) -> VaultFacts:
        """Return what the store says of the vault now.

        Raises
        ------
        StoreError
            It cannot be reached, refuses, or there is no such vault.
        """
        told = self._asked(lambda: self._client.describe_vault(vaultName=self._vault))
        return VaultFacts(
            archives=int(told.get("NumberOfArchives") or 0),
            size=int(told.get("SizeInBytes") or 0),
            inventoried_at=_time(told.get("LastInventoryDate")),
        )

    def start_inventory(self, token: str) -> str:
        """Ask for the list of all archives and return the job's id."""
        return self._start({"Type": "inventory-retrieval", "Format": "JSON"}, token, None)

    def start_retrieval(
        self, archive_id: str, token: str, *, tier: str, byte_range: tuple[int, int] | None = None
    ) -> str:
        """Ask for an archive and return the job's id.

        Parameters
        ----------
        token
            Names this request; nothing private.
        byte_range
            Only the bytes ``[start, stop)``: whole MiB, or up to the end. The store tells a tree hash only where they
            are a branch of the archive's tree (`ecogsafe.crypt.tree_hash.is_tree_aligned`).

        Raises
        ------
        ObjectMissingError
            There is no such archive.
        StoreRefusedError
            The account's policy, or no room for Expedited.
        """
        wish = {"Type": "archive-retrieval", "ArchiveId": archive_id, "Tier": tier}
        if byte_range is not None:
            wish["RetrievalByteRange"] = f"{byte_range[0]}-{byte_range[1] - 1}"
        return self._start(wish, token, f"archive {archive_id}")

    def _start(self, wish: dict[str, str], token: str, item: str | None) -> str:
        failures = 0
        while True:
            try:
                with vault_errors(self.url, item):
                    told = self._client.initiate_job(
                        vaultName=self._vault, jobParameters={**wish, "Description": token}
                    )
                return str(told["jobId"])
            except StoreError as error:
                failures += 1
                self.patience.wait(error, failures)
                # the answer may have been lost after the job was begun, and each one costs money
                if (begun := self.job_of(token)) is not None:
                    return begun.job_id

    def job(self, job_id: str) -> VaultJob:
        """Return how a job stands.

        Raises
        ------
        ObjectMissingError
            The store knows it no longer: its output has expired.
        """
        call = self._client.describe_job
        return _job(self._asked(lambda: call(vaultName=self._vault, jobId=job_id), "the job"))

    def job_of(self, token: str) -> VaultJob | None:
        """Return the job that was asked for with ``token``; None where there is none (any more)."""
        marker: dict[str, str] = {}
        while True:
            page = self._asked(partial(self._client.list_jobs, vaultName=self._vault, **marker))
            for told in page.get("JobList", ()):
                if told.get("JobDescription") == token:
                    return _job(told)
            if not page.get("Marker"):
                return None
            marker = {"marker": page["Marker"]}

    def output(self, job_id: str, start: int, stop: int) -> VaultOutput:
        """Return the bytes ``[start, stop)`` of a job's output; what lies behind its end is not there.

        The body may break off with StoreUnreachableError; it is never short without an error.

        Raises
        ------
        ObjectMissingError
            The output has expired.
        StillColdError
            The job has not ended.
        """
        byte_range = f"bytes={start}-{stop - 1}"
        call = self._client.get_job_output
        told = self._asked(lambda: call(vaultName=self._vault, jobId=job_id, range=byte_range), "the job's output")
        said = _RANGE.fullmatch(told.get("contentRange") or "")
        if said is None or int(said[1]) != start:
            raise StoreRefusedError(self.url, "does not give ranges of an output", next="ask AWS support")
        expected = int(said[2]) + 1 - start
        return VaultOutput(int(said[3]), told.get("checksum"), self._body(told["body"], expected))

    def _body(self, stream: Any, expected: int) -> Iterator[bytes]:
        came = 0
        try:
            with vault_errors(self.url):
                while data := stream.read(_READ_BYTES):
                    came += len(data)
                    yield data
        finally:
            stream.close()
        if came != expected:
            raise StoreUnreachableError(self.url, "an answer broke off", next="run again")

    def close(self) -> None:
        """Give back connections."""
        self._client.close()


def _time(text: str | None) -> datetime | None:
    """Return a time of the service (ISO 8601, UTC)."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _job(told: Mapping[str, Any]) -> VaultJob:
    return VaultJob(
        job_id=told["JobId"],
        is_ended=bool(told.get("Completed")),
        has_failed=told.get("StatusCode") == "Failed",
        ended_at=_time(told.get("CompletionDate")),
        tree_hash=told.get("SHA256TreeHash"),
        token=told.get("JobDescription"),
    )


def open_vault(
    url: str,
    *,
    backoff: Backoff | None = None,
    stop: threading.Event | None = None,
    on_wait: Callable[[Wait], None] | None = None,
) -> GlacierVault:
    """Return the vault of ``url``; nothing is asked over the network yet.

    Credentials, region and endpoint are those of the SDK's own environment and profiles.

    Raises
    ------
    UsageError
        ``url`` is not ``glacier://NAME``.
    StoreRefusedError
        The SDK's settings are wrong or incomplete.
    """
    name = vault_name(url)
    from boto3.session import Session
    from botocore.config import Config

    settings = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
    )
    try:
        with vault_errors(f"{SCHEME}{name}"):
            client: Any = Session().client("glacier", config=settings)
    except ValueError:
        # the SDK's text repeats the endpoint, which may hold a password
        raise StoreRefusedError(
            f"{SCHEME}{name}", "the endpoint is not a URL", next="correct AWS_ENDPOINT_URL_GLACIER or AWS_ENDPOINT_URL"
        ) from None
    return GlacierVault(client, name, Patience(f"{SCHEME}{name}", backoff=backoff, stop=stop, on_wait=on_wait))
