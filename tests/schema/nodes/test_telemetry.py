from worlds.database import Connection

THEIRS = """
create schema _timescaledb_catalog;
create table _timescaledb_catalog.hypertable (schema_name text, table_name text);
insert into _timescaledb_catalog.hypertable values ('autoscaler', 'metrics'), ('autoscaler', 'users');
"""


def test_a_schema_that_is_named_as_timescaledb_s_makes_no_table_a_hypertable(conn: Connection) -> None:
    """Rights to read are whole on one, and its old days are dropped in another way."""
    before = conn.execute("select * from public.given_rights() order by 1, 2, 3").fetchall()

    conn.execute(THEIRS)

    assert conn.execute("select public.is_hypertable('autoscaler.metrics')").fetchone() == (False,)
    assert conn.execute("select * from public.given_rights() order by 1, 2, 3").fetchall() == before
