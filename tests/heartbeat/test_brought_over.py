"""A database of before has its keys, ids and configurations brought over by `migrate`."""

from collections.abc import Iterator
from hashlib import sha256

import psycopg
import pytest

from pgfleet.schema.database import migrate as program
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import migrate
from worlds.database import Connection, fresh_database
from worlds.fleet import new_id
from worlds.heartbeats import heart_in

FILES = sql_files()
TABLES_OF_BEFORE = [file for file in FILES if file.version < "schema/033"]
ROWS = """
insert into autoscaler.nodes (name, region) values ('n', 'eu');
insert into autoscaler.pools (node_id, oracle_pool_id, name, region) values (1, 'p', 'p', 'eu');
insert into autoscaler.metrics (node_id, pool_id, metric_type, value, unit) values (1, 1, 'x', 1, 'count');
insert into autoscaler.node_configurations (node_id, yaml_config, config_hash)
  values (1, 'old', 'x'), (1, 'new', 'y');
"""


@pytest.fixture
def older(server_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database as the tables were before, with rows."""
    with fresh_database(server_dsn) as dsn:
        with monkeypatch.context() as patch:
            patch.setattr(program, "sql_files", lambda: TABLES_OF_BEFORE)
            migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(ROWS.encode())
        yield dsn


def ask(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


def test_a_heartbeat_that_was_counted_before_is_not_counted_again(older: str) -> None:
    counted = [(new_id(), age) for age in ("0 days", "1 day")]
    with psycopg.connect(older, autocommit=True) as conn:
        for one, age in counted:
            conn.execute("insert into public.heartbeat_ids (id, at) values (%s, now() - %s::interval)", (one, age))

    migrate(older)

    with heart_in(older) as heart:
        heart.tell(*(heart.beat(1, id=one) for one, _ in counted), new := heart.beat(1))
        assert heart.kept(1) == [new["id"]]
    found = ask(older, "select tableoid::regclass::text, id::text from public.heartbeat_ids")
    assert {one for _, one in found} == {new["id"], *(one for one, _ in counted)}
    assert not any(str(table).endswith("_default") for table, _ in found)


def test_who_could_write_the_ids_still_can(older: str) -> None:
    role = f"least_{new_id()[:8]}"
    with psycopg.connect(older, autocommit=True) as conn:
        conn.execute(f"create role {role}".encode())
        try:
            conn.execute(f"grant select, insert on public.heartbeat_ids to {role}".encode())

            migrate(older)

            allowed = f"select has_table_privilege('{role}', 'public.heartbeat_ids', 'select, insert')"
            assert ask(older, allowed) == [(True,)]
        finally:
            forget(conn, role)


def forget(conn: Connection, role: str) -> None:
    conn.execute(f"drop owned by {role}".encode())
    conn.execute(f"drop role {role}".encode())


def test_rows_keep_their_keys_which_have_room(older: str) -> None:
    migrate(older)

    columns = "p.id, m.pool_id, pg_typeof(p.id)::text, pg_typeof(m.pool_id)::text"
    assert ask(older, f"select {columns} from autoscaler.pools p, autoscaler.metrics m") == [(1, 1, "bigint", "bigint")]
    room = "select max_value from pg_sequences where sequencename = 'pools_id_seq'"
    assert ask(older, room) == [(2**63 - 1,)]


def test_of_two_active_configurations_the_newest_stays_and_hashes_are_put_right(older: str) -> None:
    migrate(older)

    found = ask(older, "select yaml_config, config_hash, is_active from autoscaler.node_configurations order by id")
    right = [(text, sha256(text.encode()).hexdigest()) for text in ("old", "new")]
    assert found == [(*right[0], False), (*right[1], True)]
