"""The commented config.toml that ``init`` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecogsafe.core.config import Destination

_TEMPLATE = """\
# ecogsafe settings. Everything may be left out; an unknown key is an error that names the nearest known one.

# The time zone of the place where the recordings were made. EDF files tell local time, Natus files UTC:
# without this line the two cannot be put together, and `ecogsafe deid` refuses Natus studies.
{time_zone}

# Where de-identified data waits to be sent: the OUT folder of `ecogsafe deid apply --to OUT`.
{outbox}

# The places that `ecogsafe backup` fills. types: "v" = video, Natus files and text; "e" = EDF and BDF.
# [[destination]]
# name = "s3-video"
# url = "s3://my-video-bucket"
# types = ["v"]
#
# [[destination]]
# name = "nas"
# url = "file:///nas/ecog_project"
# types = ["v", "e"]
# plain = true            # unencrypted, for people who open files there (file:// only for video)
# group = "ecog"          # who may read them; folders hand it on (setgid)
# mode = "0640"
#
# [[destination]]
# name = "deep"
# url = "s3://my-archive-bucket"
# archive = true          # sealed volumes instead of single files
# storage_class = "DEEP_ARCHIVE"
{destinations}
# Sealed copies of the linking key, the journals and the lab key go here after every change
# (default: every file:// destination). Without any, the loss of this home is the loss of the names.
# [key_backup]
# urls = ["file:///nas/ecog_project"]

# When a file counts as safe: copies in different buckets and devices, so many of them off site (not file://), proven
# at that level; and from each store enough must have been brought back within the days (0: that is not asked for).
# [policy]
# copies = 3
# offsite = 1
# level = "checksum"
# restored_within_days = 180

# Who is told how every `ecogsafe backup` ended, by Apprise URLs (pip install 'ecogsafe[notify]'). A night without a
# message is a night without a backup. The messages hold no identifiers; these lines hold passwords.
# [notify]
# urls = ["mailto://user:password@example.org?to=lab@example.org"]
"""


def config_template(
    time_zone: str | None, *, outbox: str | None = None, destinations: Sequence[Destination] = ()
) -> str:
    """Return the text; what is not known stays a comment."""
    return _TEMPLATE.format(
        time_zone=f"time_zone = {_text(time_zone)}" if time_zone else '# time_zone = "America/Los_Angeles"',
        outbox=f"outbox = {_text(outbox)}" if outbox else '# outbox = "/data/to_upload"',
        destinations="".join(map(_table, destinations)),
    )


def _table(destination: Destination) -> str:
    types = ", ".join(map(_text, destination.types))
    lines = [
        "[[destination]]",
        f"name = {_text(destination.name)}",
        f"url = {_text(destination.url)}",
        f"types = [{types}]",
    ]
    lines += ["plain = true"] if destination.plain else []
    if destination.archive:
        lines += ["archive = true", f"storage_class = {_text(destination.storage_class or 'DEEP_ARCHIVE')}"]
    return "\n" + "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a TOML basic string: JSON's, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
