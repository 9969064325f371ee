"""Runs one command and writes what it cost, as JSON, to a descriptor; a process of its own, so that sums are exact.

    python -m benchmarks.timed DESCRIPTOR COMMAND…

Between the two looks at the clock nothing happens here but waiting. ``wait4`` sums the processor time of the
command and of all it waited for; the kernel adds the bytes they read and wrote to this process' own.
"""

from __future__ import annotations

import json
import os
import sys
import time

from benchmarks.processes import own_io


def main() -> None:
    """Run it."""
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(descriptor, False)
    before = own_io()
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began
    after = own_io()
    told = {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "status": os.waitstatus_to_exitcode(status),
        "largest_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "io": {name: after[name] - before[name] for name in after},
    }
    os.write(descriptor, json.dumps(told).encode())


if __name__ == "__main__":
    main()
