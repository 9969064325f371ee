"""Programs and libraries that this machine has."""

from __future__ import annotations

import importlib.util
import platform
import shutil

from ecogsafe.core.config import Settings
from ecogsafe.service.doctor_report import Report

#: program, and what it is wanted for
_PROGRAMS = (
    ("age", "opens sealed files without ecogsafe"),
    ("zstd", "unpacks archives without ecogsafe"),
)


def check_tools(report: Report, settings: Settings) -> None:
    """Tell of Python, of the programs that a copy can be opened with, and of libraries that are missing."""
    report.good("python", f"Python {platform.python_version()}")
    for program, use in _PROGRAMS:
        if shutil.which(program) is not None:
            report.good("programs", f"{program} is here: it {use}")
        else:
            report.note("programs", f"{program} is not here; nothing here needs it, but it {use}", f"install {program}")
    if not _has("openpyxl"):
        report.note("libraries", "no openpyxl: subjects export and import take CSV only", "pip install openpyxl")
    needs = (
        (any(d.url.startswith("azure://") for d in settings.destination), "azure.storage.blob", "azure-storage-blob"),
        (bool(settings.notify.urls), "apprise", "apprise"),
    )
    for is_needed, module, package in needs:
        if is_needed and not _has(module):
            report.bad("libraries", f"config.toml needs {package}, which is not installed", f"pip install {package}")


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
