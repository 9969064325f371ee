"""Get the stock ``age`` command for the tests that open our data with it.

Debian and Ubuntu have it as a package; it is installed where that needs no question (root, or sudo without
a password). Elsewhere this says how to get it and the tests that need it are reported as skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def _as_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    if shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0:
        return sudo
    return None


def main() -> int:
    """Install ``age`` if it is missing and that is possible; never fails the caller."""
    if shutil.which("age"):
        return 0
    prefix = _as_root()
    if prefix is not None and shutil.which("apt-get"):
        print("Installing the stock age command (apt-get install age) …", flush=True)
        for arguments in (["install", "-y", "-q", "age"], ["update", "-q"], ["install", "-y", "-q", "age"]):
            done = subprocess.run([*prefix, "apt-get", *arguments], capture_output=True, check=False)
            if done.returncode == 0 and shutil.which("age"):
                return 0
    print("The age command is not installed: tests that need it are skipped. Debian/Ubuntu: sudo apt install age")
    return 0


if __name__ == "__main__":
    sys.exit(main())
