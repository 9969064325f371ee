"""The commented config.toml that ``init`` writes."""

from __future__ import annotations

_TEMPLATE = """\
# ecogsafe settings. Everything may be left out; an unknown key is an error that names the nearest known one.

# The time zone of the place where the recordings were made. EDF files tell local time, Natus files UTC:
# without this line the two cannot be put together, and `ecogsafe deid` refuses Natus studies.
{time_zone}

# Where de-identified data waits to be sent: the OUT folder of `ecogsafe deid apply --to OUT`.
# outbox = "/data/to_upload"

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

# Sealed copies of the linking key, the journals and the lab key go here after every change
# (default: every file:// destination). Without any, the loss of this home is the loss of the names.
# [key_backup]
# urls = ["file:///nas/ecog_project"]

# When a file counts as safe.
# [policy]
# copies = 3
# offsite = 1
# level = "checksum"
# restored_within_days = 180
"""


def config_template(time_zone: str | None) -> str:
    """Return the text; the time zone stays a comment where it is not known."""
    line = f'time_zone = "{time_zone}"' if time_zone else '# time_zone = "America/Los_Angeles"'
    return _TEMPLATE.format(time_zone=line)
