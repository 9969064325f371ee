"""Labs of the command-line tests, for the services behind the commands."""

from __future__ import annotations

from tests.cli.conftest import applied, applied_lab, handed_over, lab, made_lab
from tests.service.small_lab import in_memory, made_home, small_lab

__all__ = ["applied", "applied_lab", "handed_over", "in_memory", "lab", "made_home", "made_lab", "small_lab"]
