"""B1, B2, B4, B5, B6 and B7 in one go: sets up its own servers and peers, prints tables, records the environment.

python -m benchmarks [--only B1,B2] [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

from benchmarks.b1_large import b1
from benchmarks.b2_small import b2
from benchmarks.b4_one_read import b4
from benchmarks.b5_range import b5
from benchmarks.b6_back import b6
from benchmarks.b7_catalogue import b7
from benchmarks.options import run_from_command_line

if __name__ == "__main__":
    run_from_command_line({"B1": b1, "B2": b2, "B4": b4, "B5": b5, "B6": b6, "B7": b7}, __doc__ or "")
