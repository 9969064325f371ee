"""The lab's upload as it was: encrypt to a temporary file with openssl, ask whether the key is there, send, next.

python -m benchmarks.old_way FOLDER BUCKET OPENSSL CIPHER-FLAG…       password in OLD_PASSWORD
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    """Send every file."""
    folder, bucket, openssl, *flags = sys.argv[1:]
    client = boto3.client("s3")
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        key = f"{path.relative_to(folder)}.enc"
        with tempfile.NamedTemporaryFile(suffix=".enc") as sealed:
            subprocess.run(
                [openssl, "enc", "-e", *flags, "-in", path, "-out", sealed.name, "-pass", "env:OLD_PASSWORD"],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            try:
                client.head_object(Bucket=bucket, Key=key)
            except ClientError:
                client.upload_file(sealed.name, bucket, key)


if __name__ == "__main__":
    main()
