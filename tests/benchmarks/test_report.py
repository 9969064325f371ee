"""Rounds, ratios and tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.big_catalogue import change_one, codes, fill, prove_all
from benchmarks.measuring import Measured
from benchmarks.options import run_from_command_line
from benchmarks.rounds import Results, orders
from benchmarks.tables import Target, markdown_table, target_table, upload_table

from ecogsafe.catalog import standing, summaries, sums
from ecogsafe.catalog.database import Catalog


def cost(wall_s: float, cpu_s: float = 1.0) -> Measured:
    return Measured(wall_s=wall_s, cpu_s=cpu_s, peak_bytes=50_000_000, temp_bytes=0, io={}, server_cpu_s=0.5)


def results() -> Results:
    found = Results()
    # the second round met a slow machine
    found.by_client = {"ours": [cost(1), cost(4), cost(1)], "peer": [cost(2), cost(8), cost(3)]}
    found.work = {"ours": (2.0, 100), "peer": (2.0, 100)}
    return found


def test_ratios_are_taken_within_a_round() -> None:
    assert results().ratio("peer", "ours", lambda run: run.wall_s) == 2


def test_a_client_with_less_work_is_compared_by_the_file() -> None:
    found = results()
    found.work["peer"] = (0.02, 10)
    assert found.ratio("peer", "ours", lambda run: run.wall_s) == 20


def test_every_client_has_every_place_in_the_order() -> None:
    made = list(orders(4, 4))
    assert all(sorted(order) == [0, 1, 2, 3] for order in made)
    assert len({order[0] for order in made}) > 1
    assert {order.index(0) < order.index(1) for order in made} == {True, False}


def test_the_table_of_uploads() -> None:
    head, line, ours, peer = upload_table(results(), "ours", per_file=False).splitlines()
    assert head.startswith("| client | wall s, median (range) | MiB/s | client CPU, s/GiB |")
    assert line == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert ours == "| ours | 1.00 (1.00-4.00) | 2048 | 0.50 | 50 | 0 | 0.5 |  |"
    assert peer == "| peer | 3.00 (2.00-8.00) | 683 | 0.50 | 50 | 0 | 0.5 | 2.00× |"
    assert "| peer | 3.00 (2.00-8.00) | 33 | 10.00 |" in upload_table(results(), "ours", per_file=True)


def test_targets_that_are_missed_are_said_to_be() -> None:
    rows = target_table(
        [Target("speed", 1.2, 1.3), Target("memory", 280, 300, at_most=True, unit=" MB"), Target("fast", 2, 1.5)]
    ).splitlines()[2:]
    assert rows == [
        "| speed | 1.2× | ≥ 1.3× | **no** |",
        "| memory | 280 MB | ≤ 300 MB | yes |",
        "| fast | 2× | ≥ 1.5× | yes |",
    ]
    assert markdown_table(["a", "b"], []) == "| a | b |\n| --- | ---: |"


@pytest.mark.parametrize("wrong", [["--only", "B9"], ["--runs", "0"]])
def test_wrong_options_are_refused(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_from_command_line({"B1": lambda _: "", "B2": lambda _: ""}, "x", [*wrong, "--folder", str(tmp_path)])
    assert "error:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_large_catalogue_is_one_the_catalogue_understands(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog.open(path, create=True).close()
    copies = fill(path, 2000)
    with Catalog.open(path) as catalog:
        sums.keep_sums(catalog)
        with catalog.read() as tx:
            found = sums.sums(tx)
            assert [each.subject for each in found] == codes()
            assert sum(t.files for t in summaries.file_totals(found)) == 2000
            assert sum(c.files for each in found for c in each.copies) == copies == 3998
    assert prove_all(path) > 0
    change_one(path, codes()[3])
    with Catalog.open(path) as catalog, catalog.read() as tx:
        assert standing.is_pending(tx, 2**40)
        assert sum(c.files for each in sums.sums(tx) for c in each.copies) == copies
