"""The list of what a database needs is that of the database that the SQL files make."""

import psycopg

from pgfleet.console.diagram import NEEDED, THINGS
from pgfleet.schema.database import needed, things
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.missing import missing
from worlds.database import Connection, by_psql, run_program


def test_the_list_is_that_of_the_migrated_database(conn: Connection) -> None:
    assert NEEDED.read_text(encoding="utf-8") == needed.render(conn), "run: make generated"
    assert THINGS.read_text(encoding="utf-8") == things.render(conn), "run: make generated"


def test_a_database_that_was_dumped_and_restored_is_as_it_has_to_be(dsn: str, empty_dsn: str) -> None:
    """PostgreSQL writes some of it out in other words then."""
    by_psql(empty_dsn, run_program("pg_dump", dsn))

    applied = migrate(empty_dsn)

    with psycopg.connect(empty_dsn) as restored:
        assert (applied, missing(restored)) == ([], [])


def test_a_table_comes_after_those_that_it_refers_to(conn: Connection) -> None:
    """Outcomes are written in this order. Two keys lead back: to a disk's snapshots, and to a cluster's leaders."""
    places = list(needed.needed())
    keys = conn.execute(
        "select distinct n.nspname || '.' || c.relname, rn.nspname || '.' || r.relname from pg_constraint k"
        " join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace"
        " join pg_class r on r.oid = k.confrelid join pg_namespace rn on rn.oid = r.relnamespace"
        " where k.contype = 'f' and k.conrelid <> k.confrelid and n.nspname = any(%s) and not c.relispartition",
        (list(needed.SCHEMAS),),
    ).fetchall()

    backwards = {(table, other) for table, other in keys if places.index(table) < places.index(other)}

    assert len(keys) > 20
    assert backwards == {
        ("public.disks", "public.disk_snapshots"),
        ("clusters.clusters", "clusters.cluster_nodes"),
        # An account of the API belongs to a person, whose table came later (053).
        ("public.api_users", "autoscaler.users"),
    }
