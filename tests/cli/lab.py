"""One lab in a folder: its home, its password file, and the commands it runs, all of whose words are kept."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from ecogsafe.core.private import Secret
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.synthetic.ledger import Ledger
from ecogsafe.synthetic.timeline import SITE_ZONE
from ecogsafe.ui.cli.main import run_cli
from tests.cli.json_contract import check_stream
from tests.cli.searching import residue

PASSWORD = "five words nobody else knows"
#: scrypt work factor of the lab keys in these tests; `init` itself is tested with the real one
WORK_FACTOR = 10
#: words that must never reach a user
_BROKEN = ("Traceback (most recent call last)", "a bug in ecogsafe")
#: what a command may know of the environment of the tests
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What a command ended with and said."""

    arguments: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err

    @property
    def events(self) -> list[Event]:
        """The JSON Lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> Event:
        """The last event."""
        return self.events[-1]

    def of(self, message_type: str, **values: Any) -> list[Event]:
        """Return the events of a type in which these fields have these values."""
        return [
            e
            for e in self.events
            if e["message_type"] == message_type and all(e.get(name) == value for name, value in values.items())
        ]

    @property
    def error(self) -> Event:
        """The one error that stopped the run."""
        (error,) = self.of("error")
        return error


@dataclass(slots=True)
class Lab:
    """A folder with ``home``, ``password.txt`` and whatever a test puts there.

    The home exists after `initialise` (fast keys) or a command ``init``.
    """

    folder: Path
    extra_env: dict[str, str] = field(default_factory=dict)
    #: everything that any command said
    told: list[str] = field(default_factory=list)
    #: subject codes by the key of the synthetic patient
    codes: dict[str, str] = field(default_factory=dict)
    ledger: Ledger | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def out(self) -> Path:
        """Where `deid apply` puts the files."""
        return self.folder / "outbox"

    @property
    def export(self) -> Path:
        """The export; its own path names the patients, as it would in a hospital."""
        return self.folder / "handed over by Post and Québrane-Zölt" / "export"

    @property
    def password_file(self) -> Path:
        return self.folder / "password.txt"

    def env(self) -> dict[str, str]:
        """Return the environment of every command: nothing of the developer's own account gets in."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT}
        return {
            **kept,
            "HOME": str(self.folder / "account"),
            "PYTHONWARNINGS": "error",
            "ECOGSAFE_HOME": str(self.home),
            "ECOGSAFE_PASSWORD_FILE": str(self.password_file),
            **self.extra_env,
        }

    def write_password(self, password: str = PASSWORD) -> None:
        """Make the password file."""
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{password}\n")

    def initialise(self, *, time_zone: str | None = SITE_ZONE) -> None:
        """Make the home with keys that are quick to open."""
        self.write_password()
        initialise(
            Home(self.home),
            Secret(PASSWORD.encode()),
            recovery_file=self.folder / "recovery-key.txt",
            time_zone=time_zone,
            work_factor=WORK_FACTOR,
        )

    def copy_to(self, folder: Path) -> Lab:
        """Return the same lab in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        return Lab(folder, dict(self.extra_env), [], dict(self.codes), self.ledger)

    def configure(self, text: str) -> None:
        """Append lines to config.toml."""
        with (self.home / "config.toml").open("a", encoding="utf-8") as config:
            config.write(f"\n{text}\n")

    def identifiers(self, key: str) -> Path:
        """Return the identifiers file of a synthetic patient, made when first asked for."""
        assert self.ledger is not None
        path = self.folder / f"identifiers-{key}.toml"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(self.ledger.patient(key).identifiers_toml(), encoding="utf-8")
        return path

    def apply_words(self, key: str) -> list[str | Path]:
        """Return the command that de-identifies a synthetic patient."""
        words = ["deid", "apply", self.export, "--to", self.out]
        return [*words, "--identifiers", self.identifiers(key)]

    def run(
        self,
        *arguments: str | Path,
        status: int | None = 0,
        typed: str = "",
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command as a process of its own; ``status`` is what it must end with (None: anything but 1)."""
        words = [str(a) for a in arguments]
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "ecogsafe", *words],
            input=typed,
            capture_output=True,
            text=True,
            env={**self.env(), **(env or {})},
            cwd=self.folder,
            timeout=90,
            check=False,
        )
        return self._judged(Result(tuple(words), done.returncode, done.stdout, done.stderr), status)

    def here(
        self, *arguments: str | Path, status: int | None = 0, typed: str = "", env: Mapping[str, str] | None = None
    ) -> Result:
        """Run a command within this process, which spares the start of Python."""
        words = [str(a) for a in arguments]
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {**self.env(), **(env or {})}, clear=True),
            mock.patch.object(sys, "stdin", io.StringIO(typed)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _signals_kept(),
        ):
            ended = run_cli(words)
        return self._judged(Result(tuple(words), ended, out.getvalue(), err.getvalue()), status)

    def _judged(self, result: Result, status: int | None) -> Result:
        self.told.append(result.said)
        shown = f"ecogsafe {' '.join(result.arguments)}\n-> {result.status}\n{result.said}"
        for words in _BROKEN:
            assert words not in result.said, shown
        assert result.status == status if status is not None else result.status != 1, shown
        if "--json" in result.arguments:
            check_stream(result.out, result.status)
        return result

    def apply(self, key: str, *more: str, status: int = 0) -> Result:
        """De-identify one synthetic patient of the export, within this process, and remember the code."""
        done = self.here("--json", *self.apply_words(key), *more, status=status)
        self.codes[key] = done.of("item", action="segment")[0]["subject"]
        return done

    def residue_in_words(self, terms: Iterable[str]) -> list[str]:
        """Return which of ``terms`` any command has said so far."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            place = Path(scratch) / "told"
            place.mkdir()
            (place / "0").write_text("\n".join(self.told), encoding="utf-8", errors="surrogateescape")
            return sorted({line.rsplit(": ", 1)[1] for line in residue(place, list(terms), Path(scratch) / "parts")})


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    kept = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in kept.items():
            signal.signal(name, handler)
