"""``demo``: a synthetic export, then the whole job on folders, each step timed, the end compared byte by byte."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import UsageError, VerificationError
from ecogsafe.core.events import ErrorEvent, Event, EventSink, Finding, Item, Progress, Summary
from ecogsafe.core.private import Secret
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.service.deid_applying import apply
from ecogsafe.service.deid_planning import DeidRequest
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.service.running import Run, running
from ecogsafe.service.upload import upload
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.synthetic.export import ExportScale, write_export
from ecogsafe.synthetic.ledger import Ledger, search
from ecogsafe.transfer.received import digest_of_file

_MARKER = ".ecogsafe-demo"
_ONE_DISK = "# all folders of the demo lie on one disk: they would be lost together, so they count as one copy\n"
#: scrypt work factor of the demonstration's lab key: its password lies beside it
_WORK_FACTOR = 12
_SEED = 20260101


class Demonstration:
    """The steps, one after the other, in one folder."""

    def __init__(self, folder: Path, emit: EventSink, scale: ExportScale) -> None:
        self._folder = folder
        self._emit = emit
        self._scale = scale
        self._home = Home(folder / "home")
        self._password = Secret(secrets.token_urlsafe(16).encode())
        self._stores = {"v": folder / "cloud" / "video", "e": folder / "cloud" / "edf", "nas": folder / "nas"}
        self._out = folder / "outbox"
        self._began = monotonic()

    def carry_out(self) -> Summary:
        """Run every step; raise at the first that does not hold.

        Raises
        ------
        UsageError
            The folder exists and is not an earlier demonstration.
        VerificationError
            Something did not come back as it was.
        """
        self._make_folder()
        ledger = self._export()
        self._initialise()
        self._deidentify(ledger)
        self._search(ledger)
        self._send()
        self._verify()
        restored, total = self._bring_back()
        message = f"restored {restored} of {total} files, digests equal"
        seconds = round(monotonic() - self._began, 1)
        files = {"done": restored}
        return Summary(command="demo", exit_status=0, files=files, bytes=0, seconds=seconds, message=message)

    @contextmanager
    def _step(self, number: int, title: str) -> Iterator[Callable[[str], None]]:
        """Tell the result of a step and how long it took."""
        began = monotonic()
        told: list[str] = []
        yield told.append
        seconds = monotonic() - began
        self._emit(
            Item(
                action="demo",
                status="done",
                path=f"{number}. {title}",
                message=f"{'; '.join(told)} ({seconds:.1f} s)",
                details={"seconds": round(seconds, 3)},
            )
        )

    def _run(self, command: str, work: Callable[[Run], None]) -> Run:
        """Carry out one service; its failures are told, its successes are counted only."""

        def quiet(event: Event) -> None:
            wrong = isinstance(event, Item) and event.status in ("failed", "conflict")
            if wrong or isinstance(event, ErrorEvent | Finding | Progress):
                self._emit(event)

        with running(self._home, command, quiet) as run:
            work(run)
        if run.tally.failed or run.counts.get("findings"):
            raise VerificationError("demo", f"{command} left {run.tally.failed} files undone", next="make clean demo")
        return run

    def _make_folder(self) -> None:
        folder = self._folder
        if folder.exists() and any(folder.iterdir()):
            if not (folder / _MARKER).is_file():
                raise UsageError("DIR", "exists and is not an earlier demonstration", next="name a new folder")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).write_text("made by ecogsafe demo; replaced by the next one\n", encoding="ascii")

    def _export(self) -> Ledger:
        with self._step(1, "a hospital export") as tell:
            ledger = write_export(self._folder / "export", form="mixed", scale=self._scale, seed=_SEED)
            total = sum(p.stat().st_size for p in (self._folder / "export").rglob("*") if p.is_file())
            planted = f"{len(ledger.planted):,} identifiers planted"
            tell(f"2 synthetic patients, 3 segments each, {total / 1e6:.0f} MB, {planted}")
        return ledger

    def _initialise(self) -> None:
        with self._step(2, "init") as tell:
            for store in self._stores.values():
                store.mkdir(parents=True)
            initialise(
                self._home,
                self._password,
                recovery_file=self._folder / "recovery-key.txt",
                time_zone="America/Los_Angeles",
                work_factor=_WORK_FACTOR,
            )
            password_file = self._folder / "password.txt"
            password_file.touch(mode=0o600)
            password_file.write_bytes(self._password.reveal() + b"\n")
            with self._home.config.open("a", encoding="utf-8") as config:
                url = (self._folder / "nas").absolute().as_uri()
                config.write(f'\n[key_backup]\nurls = ["{url}"]\n\n[policy]\n{_ONE_DISK}copies = 1\noffsite = 0\n')
            tell("lab key, recovery key, recovery sheet, catalogue; keys copied to the NAS after every change")

    def _deidentify(self, ledger: Ledger) -> None:
        with self._step(3, "deid apply") as tell:
            for patient in ledger.patients:
                given = Identifiers.from_toml(patient.identifiers_toml())
                request = DeidRequest(export=self._folder / "export", out=self._out, identifiers=given, settle_s=0.0)
                run = self._run("deid apply", self._application(request))
                tell(f"{run.tally.done} files renamed and cleaned, {run.tally.left_behind} left behind and listed")

    def _application(self, request: DeidRequest) -> Callable[[Run], None]:
        return lambda run: apply(run, request, lambda: self._password, _no_question)

    def _search(self, ledger: Ledger) -> None:
        with self._step(4, "search for every planted identifier") as tell:
            terms = [term for patient in ledger.patients for term in patient.terms()]
            residue = list(search(self._out, terms))
            if residue:
                raise VerificationError("demo", f"{len(residue)} identifiers are left below OUT")
            tell(f"{len(terms)} terms in four encodings: none found below the outbox")

    def _send(self) -> None:
        with self._step(5, "upload") as tell:
            jobs = (
                ("v", False, self._stores["v"], "video and Natus files, sealed"),
                ("e", False, self._stores["e"], "EDF and BDF, cleared"),
                ("v", True, self._stores["nas"], "all of it to the NAS, to be opened there"),
                ("e", False, self._stores["nas"], ""),
            )
            for data_type, plain, store, words in jobs:
                request = UploadRequest(
                    folder=self._out, url=store.absolute().as_uri(), data_type=data_type, plain=plain
                )
                run = self._run("upload", lambda run, r=request: upload(run, r))  # type: ignore[misc]
                if words:
                    tell(f"{run.tally.done} files ({words})")

    def _verify(self) -> None:
        with self._step(6, "verify") as tell:
            run = self._run("verify", lambda run: verify(run, VerifyRequest(), lambda: self._password))
            tell(f"{run.tally.done} copies: the store's checksum is ours")
            run = self._run("verify", lambda run: verify(run, VerifyRequest(deep=True), lambda: self._password))
            tell(f"{run.tally.done} copies read back, opened, digests equal")

    def _bring_back(self) -> tuple[int, int]:
        with self._step(7, "download") as tell:
            target = self._folder / "restored"
            for name in ("v", "e"):
                (target / name).mkdir(parents=True)
                request = DownloadRequest(folder=target / name, url=self._stores[name].absolute().as_uri())
                run = self._run("download", lambda run, r=request: download(run, r, lambda: self._password))  # type: ignore[misc]
                tell(f"{run.tally.done} files")
            return self._compare(target)

    def _compare(self, target: Path) -> tuple[int, int]:
        """Compare every file of the outbox with what came back; the trees are laid side by side in the stores."""
        total = equal = 0
        for tree, name in (("video", "v"), ("text", "v"), ("edf", "e")):
            for path in sorted((self._out / tree).rglob("*")):
                if path.is_file():
                    total += 1
                    back = target / name / path.relative_to(self._out / tree)
                    equal += back.is_file() and digest_of_file(back) == digest_of_file(path)
        if equal != total:
            raise VerificationError("demo", f"only {equal} of {total} files came back with equal digests")
        return equal, total


def _no_question(question: str) -> None:
    """The two synthetic patients are known to be different people: a question would be a fault."""
    raise VerificationError("demo", f"asked: {question}")


def demonstrate(folder: Path, emit: EventSink) -> Summary:
    """Run the demonstration in ``folder``."""
    summary = Demonstration(folder, emit, ExportScale.demo()).carry_out()
    name = folder.name
    for message in (
        f"Everything is in {name}/: look into outbox/, cloud/, nas/, restored/.",
        f"Go on by hand: export ECOGSAFE_HOME=$PWD/{name}/home ECOGSAFE_PASSWORD_FILE=$PWD/{name}/password.txt",
        "then: ecogsafe status",
    ):
        emit(Item(action="demo", status="note", message=message))
    return summary
