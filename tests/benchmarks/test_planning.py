"""The catalogue that `verify` is timed on, and that its planning does not read it all."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from benchmarks.big_catalogue import fill
from sqlalchemy import event

from ecogsafe.catalog.database import Catalog
from ecogsafe.service.verify_planning import plan_verify
from ecogsafe.service.verify_request import VerifyRequest

FILES = 1200


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A catalogue and the number of its copies."""
    path = tmp_path_factory.mktemp("planning") / "catalog.sqlite"
    Catalog.open(path, create=True).close()
    return path, fill(path, FILES)


@pytest.mark.parametrize("wishes", [{}, {"deep": True}, {"max_age_days": 30}, {"url": "file:///archive/clinic"}])
def test_planning_takes_the_oldest_first_from_an_index(filled: tuple[Path, int], wishes: dict[str, object]) -> None:
    path, copies = filled
    asked: list[tuple[str, Any]] = []
    with Catalog.open(path) as catalog:

        @event.listens_for(catalog._reader, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
            asked.append((statement, values))

        plan = plan_verify(catalog, VerifyRequest(**wishes))  # type: ignore[arg-type]
        assert plan.files_total == (copies if "url" not in wishes else copies - FILES)
        first = [copy for copy, _ in islice(plan.pairs(catalog), 600)]
        times = [copy.read_at if "deep" in wishes else copy.asked_at for copy in first]
        assert times == sorted(times)
        with catalog.read() as tx:
            steps = [
                row[3]
                for statement, values in list(asked)
                if "FROM copies" in statement
                for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            ]
    in_order = [step for step in steps if "ix_copies_asked" in step or "ix_copies_read" in step]
    assert len(in_order) >= 4
    assert not [step for step in steps if "TEMP B-TREE" in step or step == "SCAN copies"], steps
