"""Statements for many rows at once: as those for one, whatever their number."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import psycopg

from ecogsafe.catalog import bulk, stores
from ecogsafe.catalog.bulk import add_rows, among, carry_out
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.schema import meta
from ecogsafe.catalog.schema import stores as table

KNOWN = select(meta.c.name).where(meta.c.name.in_(bindparam("names", expanding=True)), meta.c.value == bindparam("a"))
CHANGE = update(meta).where(meta.c.name == bindparam("a_name")).values(value=bindparam("to"))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 513, 1100])
def test_any_number_of_rows_is_added_found_and_changed(catalog: Catalog, count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    with catalog.write() as tx:
        add_rows(tx, meta, [{"name": name, "value": "new"} for name in names])
        add_rows(tx, meta, [{"value": "other", "name": "not asked for"}])
        found = [name for (name,) in among(tx, KNOWN, {"a": "new"}, names=[*names, "unknown"])]
        assert sorted(found) == sorted(names)
        carry_out(tx, CHANGE, [{"a_name": name, "to": "old"} for name in names[1:]])
        assert [name for (name,) in among(tx, KNOWN, {"a": "new"}, names=names)] == names[:1]
        assert sorted(name for (name,) in among(tx, KNOWN, {"a": "old"}, names=names)) == sorted(names[1:])
        assert among(tx, KNOWN, {"a": "old"}, names=["not asked for"]) == []


def test_the_order_in_which_columns_are_named_does_not_matter(catalog: Catalog) -> None:
    rows = [{"url": f"s3://b{n}", "last_seen": "t2", "first_seen": "t1", "kind": "s3", "store_id": f"id{n}"} for n in (1, 2)]  # fmt: skip  # noqa: E501
    with catalog.write() as tx:
        add_rows(tx, table, rows)
        for n in (1, 2):
            kept = stores.store_by_url(tx, f"s3://b{n}")
            assert kept is not None
            assert (kept.store_id, kept.kind, kept.first_seen, kept.last_seen) == (f"id{n}", "s3", "t1", "t2")


def test_a_database_that_names_its_parameters_gets_them_by_name() -> None:
    dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
    added = bulk._compiled(bulk._adding(meta), ("value", "name"), dialect)
    assert set(added.names) == {"name", "value"}
    assert all(f"%({name})s" in added.text for name in added.names)
    text, order, parameters = bulk._listed(KNOWN, ("a",), "names", 2, dialect)
    assert order == ()
    assert set(parameters) == {"a", "names_1", "names_2"}
    assert all(f"%({name})s" in text for name in parameters)
