"""``python -m ecogsafe``."""

from ecogsafe.ui.cli.main import main

main()
