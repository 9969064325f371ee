"""Labs of the command-line tests, for the services behind the commands."""

from __future__ import annotations

from tests.cli.conftest import applied, applied_lab, handed_over, lab, made_lab

__all__ = ["applied", "applied_lab", "handed_over", "lab", "made_lab"]
