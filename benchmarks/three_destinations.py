"""Sends the clips of a folder, sealed, to several stores: `ecogsafe backup` on a home whose config names them.

python -m benchmarks.three_destinations HOME FOLDER URL URL URL
"""

from __future__ import annotations

import sys
from pathlib import Path

from ecogsafe.ui.cli.main import run_cli


def main() -> None:
    """Write the config, back up, and end with its status."""
    home, folder, *urls = sys.argv[1:]
    places = [
        f'[[destination]]\nname = "place-{number}"\nurl = "{url}"\ntypes = ["v"]\n' for number, url in enumerate(urls)
    ]
    (Path(home) / "config.toml").write_text("".join(places), encoding="utf-8")
    sys.exit(run_cli(["--home", home, "-q", "backup", folder]))


if __name__ == "__main__":
    main()
