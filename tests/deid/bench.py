"""One export of two studies and two recordings, one OUT, one home, for the tests of apply and undo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ecogsafe.deid.apply import ApplyOptions, apply_plan
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Mode
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.undo import undo_apply
from tests.deid.faulty_disk import Power, PoweredDisk
from tests.deid.small_export import (
    CODE,
    Heard,
    SmallExport,
    clean,
    journal_folder,
)

MODES = [Mode.IN_PLACE, Mode.COPY, Mode.ACROSS]


class Bench:
    """One export, one OUT, one home."""

    def __init__(self, base: Path) -> None:
        self.root, self.out = base / "Quxley export", base / "out"
        self.root.mkdir()
        self.out.mkdir()
        self.export = SmallExport(self.root)
        self.journals: JournalFolder = journal_folder(base / "journals")
        self.heard = Heard()
        self.export.study("Quxley_2", 1)
        self.export.study(
            "Quxley_1", 9, ["Quxley_1.eeg", "Quxley_1.erd", "Quxley_1_0000.AVI", "Decimated/Quxley_1.erd"]
        )
        self.export.recording("Quxley_7.EDF", 1.0003)
        self.export.recording("Quxley_6.edf", 30)
        (self.root / "Quxley_7.EDF").chmod(0o604)
        os.utime(self.root, ns=(5_000_000_111, 6_000_000_222))

    def disk(self, mode: Mode) -> Disk:
        return PoweredDisk(Power(), foreign=self.out if mode is Mode.ACROSS else None)

    def apply(self, mode: Mode = Mode.IN_PLACE, disk: Disk | None = None, **more: Any) -> Outcome:
        options = more.pop("options", ApplyOptions(copy=mode is Mode.COPY))
        plan = self.export.plan(self.out, copy=options.copy)
        return apply_plan(
            plan,
            out=self.out,
            journals=self.journals,
            clean=more.pop("clean", clean),
            events=self.heard,
            options=options,
            disk=disk or self.disk(mode),
            **more,
        )

    def undo(self, disk: Disk | None = None, **more: Any) -> Outcome:
        return undo_apply(CODE, journals=self.journals, events=self.heard, disk=disk, **more)
