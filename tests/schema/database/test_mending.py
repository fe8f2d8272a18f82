"""`migrate` makes whatever is missing or altered, also where its file counts as applied; the rest it tells by name."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import psycopg
import pytest

from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.lacks import lacks
from pgfleet.schema.database.mend import NotMended
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.missing import SchemaMissing, missing, verify
from pgfleet.schema.doctor.findings import LIMITS
from pgfleet.schema.doctor.program import absent
from worlds.database import Connection, comparable, dump, fresh_database

NOTHING = (
    "create or replace function public.ring_for_disk_operations() returns trigger"
    " language plpgsql as 'begin return null; end'"
)
OTHER_VIEW = "create or replace view public.fleet_views as select ''::name as schema_name, ''::name as view_name"
# What somebody did, and what it is called.
BREAKS = {
    "drop table public.domain_mappings": "table public.domain_mappings",
    "alter table public.reservations drop column oom_count": "column public.reservations.oom_count",
    "alter table public.disks drop column in_use": "column public.disks.in_use",
    "alter table public.reservations alter column ticket drop default": "column public.reservations.ticket",
    "alter table public.status_history alter column xact_id set default pg_current_xact_id()": "status_history.xact_id",
    "alter table public.reservations alter column user_id drop not null": "column public.reservations.user_id",
    "alter table pgmq.q_gpu_reservations drop column headers": "column pgmq.q_gpu_reservations.headers",
    "alter table pgmq.q_gpu_reservations drop column last_read_at": "column pgmq.q_gpu_reservations.last_read_at",
    "drop sequence public.api_users_user_id_seq cascade": "column public.api_users.user_id",
    "alter table public.disks drop constraint disks_status_check": "constraint public.disks.disks_status_check",
    "alter table public.dead_letters drop constraint dead_letters_answer_check": "dead_letters_answer_check",
    "alter table public.disk_snapshots drop constraint disk_snapshots_disk_id_fkey": "disk_snapshots_disk_id_fkey",
    "alter table public.disk_snapshots disable trigger all": "disk_snapshots_disk_id_fkey is disabled",
    "drop index pgmq.q_gpu_reservations_claim_idx": "index pgmq.q_gpu_reservations_claim_idx",
    "drop index public.outages_open_idx": "index public.outages_open_idx",
    "update pg_index set indisvalid = false where indexrelid = 'public.outages_open_idx'::regclass": (
        "index public.outages_open_idx is CREATE UNIQUE"
    ),
    "drop trigger log_moves on public.reservations": "trigger public.reservations.log_moves",
    "alter table public.reservations disable trigger log_moves": "log_moves is disabled",
    "alter table pgmq.q_gpu_reservations disable trigger ring": "trigger pgmq.q_gpu_reservations.ring is disabled",
    "alter table public.reservations enable replica trigger log_moves": "log_moves is disabled",
    "drop trigger ring on pgmq.q_disk_operations": "trigger pgmq.q_disk_operations.ring",
    NOTHING: "function public.ring_for_disk_operations is not what this version makes",
    "drop function public.create_queue": "function public.create_queue",
    "create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe"
    " as $$ select '2026-01-01'::timestamptz $$": "function public.fleet_now is not what",
    "alter function public.keep_house() security invoker": "function public.keep_house is not what",
    "drop function public.claim_disk_operations": "function public.claim_disk_operations",
    "alter function public.claim_gpu_reservations reset all": "function public.claim_gpu_reservations is not what",
    "grant execute on function public.keep_house() to public": "closed function public.keep_house",
    OTHER_VIEW: "view public.fleet_views is not what this version makes",
    "drop view public.forgotten_reservation": "view public.forgotten_reservation",
    "select pgmq.drop_queue('node_heartbeats')": "queue node_heartbeats",
    "delete from pgmq.meta where queue_name = 'disk_operations'": "queue disk_operations",
    "alter table pgmq.q_disk_operations set unlogged": "table pgmq.q_disk_operations is unlogged",
    "delete from public.moves where machine = 'disk' and from_status = 'available'": "move disk: available -> deleted",
    "delete from public.periodic where name = 'reservation.sweep'": "periodic reservation.sweep",
    "update public.periodic set queue = 'x' where name = 'reservation.sweep'": "periodic reservation.sweep is",
    "delete from public.retention where table_name = 'public.outages'": "retention public.outages",
    "update public.retention set only_where = 'false' where table_name = 'public.outages'": "is {",
    "revoke select on public.disks from pgfleet_worker_disk": "rights of pgfleet_worker_disk: select on public.disks",
    "revoke insert (vt) on pgmq.q_gpu_reservations from pgfleet_sender": "pgfleet_sender: insert (vt) on pgmq.q_gpu",
    "revoke usage on schema pgmq from pgfleet_user": "rights of pgfleet_user: usage on schema pgmq",
    "revoke execute on function public.keep_house() from pgfleet_worker": "execute on function public.keep_house()",
    "revoke usage on sequence pgmq.q_disk_operations_msg_id_seq from pgfleet_sender": "usage on sequence pgmq.q_disk",
    "revoke all on public.moves from pgfleet_monitor": "rights of pgfleet_monitor: select (",
    "revoke update (running_instances) on public.gpu_types from pgfleet_worker_reservation": "running_instances",
    "drop function pgmq.send(text, jsonb)": "function pgmq.send(text,jsonb)",
    "drop function pgmq.send(text, jsonb, jsonb, timestamptz)": "pgmq.send(text,jsonb,jsonb,timestamp with time zone)",
    "drop function pgmq.send_batch(text, jsonb[])": "function pgmq.send_batch(text,jsonb[])",
    "grant update on public.disks to pgfleet_user": "needless rights of pgfleet_user: update on public.disks",
    "grant all on pgmq.q_disk_operations to public": "needless rights of PUBLIC: delete, insert,",
    "grant select (env_vars, command) on public.reservations to pgfleet_monitor": "select (env_vars, command) on",
    "grant select on public.disks to pgfleet_worker_disk with grant option": "_disk: grant option for select",
    "grant execute on function public.keep_house() to pgfleet_node": "needless rights of pgfleet_node: execute on",
    "grant select on autoscaler.metrics_default to public": "PUBLIC: select on autoscaler.metrics_default",
    "grant create on schema clusters to pgfleet_sender": "needless rights of pgfleet_sender: create on schema clusters",
    "delete from public.limits where name = 'images'": "row public.limits images",
    "alter trigger note_status_since on public.disks rename to other": "public.disks.other is there that nobody",
    "alter index public.disk_snapshots_disk_idx rename to other": "public.other is there that nobody knows: renamed?",
}


# What takes so much with it that it is tried alone.
LARGE = {
    "alter type autoscaler.node_status rename value 'OFFLINE' to 'GONE'": "type autoscaler.node_status is",
    "drop schema clusters cascade": "schema clusters",
    "drop schema autoscaler cascade": "schema autoscaler",
    "drop schema hopsworks cascade": "schema hopsworks",
    "drop table public.reservations cascade": "table public.reservations",
    "drop table public.status_history cascade; drop table public.moves": "table public.moves",
    "drop table pgmq.q_disk_operations cascade": "queue disk_operations",
    "drop function public.ring_for_gpu_reservations() cascade": "function public.ring_for_gpu_reservations",
    "drop function public.fleet_now() cascade": "function public.fleet_now",
    "drop schema pgmq cascade": "function pgmq.send(text,jsonb)",
    "delete from public.gpu_types where gpu_type = 'h100'": "row public.gpu_types h100",
    "delete from hopsworks.billing_rates where resource = 'gpu_hour'": "row hopsworks.billing_rates gpu_hour",
    "truncate public.line_settings": "row public.line_settings",
    "truncate public.gpu_types cascade": "row public.gpu_types t4",
    "truncate public.limits cascade": "row public.limits gpus",
    "truncate public.moves": "move disk: available -> deleted",
    "truncate public.periodic": "periodic reservation.sweep",
    "truncate public.retention": "retention public.outages",
}
# What `migrate` does not do, as what is in the rows may be lost: to be done by hand, or as PostgreSQL says.
BY_HAND = {
    "alter table public.status_history alter column msg_id type text": "do: alter table public.status_history"
    " alter column msg_id type bigint using msg_id::bigint",
    "alter table public.disks drop constraint disks_size_gb_check;"
    " insert into public.disks (disk_name, user_id, size_gb) values ('a', 'ada', -1)": "size_gb can't be -1",
    "alter table public.disks rename column size_gb to size": "column public.disks.size_gb is missing;"
    " public.disks.size is there that nobody knows: renamed?\n"
    '    do: alter table "public"."disks" rename column "size" to "size_gb"',
    "alter table public.domain_mappings rename to mappings": "table public.domain_mappings is missing;"
    " public.mappings is there that nobody knows: renamed?\n"
    '    do: alter table "public"."mappings" rename to "domain_mappings"',
    "drop function public.in_words(interval) cascade;"
    " create function public.in_words(span interval) returns integer language sql as 'select 1'": "in_words",
}


@pytest.fixture(scope="module")
def broken_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """One database for all that is rolled back."""
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.mark.parametrize(("done", "called"), (BREAKS | LARGE).items())
def test_what_is_missing_or_altered_is_told_by_name(broken_dsn: str, done: str, called: str) -> None:
    with psycopg.connect(broken_dsn) as conn, conn.transaction(force_rollback=True):
        conn.execute(done.encode())

        told = missing(conn)

    assert any(called in thing for thing in told), told


@pytest.mark.parametrize("breaks", [BREAKS, LARGE])
def test_migrate_doctor_and_services_tell_the_same(broken_dsn: str, breaks: dict[str, str]) -> None:
    with psycopg.connect(broken_dsn) as conn, conn.transaction(force_rollback=True):
        _break(conn, breaks)

        told = missing(conn)
        examined = " ".join(finding.text for finding in absent(conn, LIMITS))
        started = told_at_start(conn)

    assert len(told) >= len(breaks) / 2
    assert all(thing in examined for thing in told)
    assert set(told) == set(started)


def _break(conn: Connection, breaks: Iterable[str]) -> None:
    for done in breaks:
        # What another one has dropped can't be disabled.
        with suppress(psycopg.ProgrammingError), conn.transaction():
            conn.execute(done.encode())


def told_at_start(conn: Connection) -> list[str]:
    """What stops a service, or what it goes on with and tells."""
    try:
        return verify(conn)
    except SchemaMissing as error:
        stopping = str(error).splitlines()[1:-1]
        return [thing.strip() for thing in stopping] + [
            str(lack) for lack in lacks(conn, sql_files()) if not lack.stops
        ]


def test_an_empty_database_lacks_all_of_it(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        told = missing(conn)

    assert {
        "table public.reservations",
        "function public.ring_for_gpu_reservations",
        "queue gpu_reservations",
        "schema clusters",
    } <= set(told)
    assert len(told) > 200


def test_all_of_it_is_made_again_although_its_files_were_applied(dsn: str, conn: Connection, empty_dsn: str) -> None:
    migrate(empty_dsn)
    _break(conn, BREAKS)
    told = missing(conn)

    applied = migrate(dsn)

    assert [each.version for each in applied] == told
    assert (missing(conn), migrate(dsn)) == ([], [])
    assert _in_any_order(dump(dsn)) == _in_any_order(dump(empty_dsn))


@pytest.mark.parametrize("done", LARGE)
def test_what_takes_much_with_it_is_made_again_as_well(dsn: str, conn: Connection, done: str) -> None:
    conn.execute(done.encode())

    migrate(dsn)

    assert missing(conn) == []


@pytest.mark.parametrize(("done", "why"), BY_HAND.items())
def test_what_only_a_person_can_put_right_is_told_by_name_and_nothing_is_applied(
    dsn: str, conn: Connection, done: str, why: str
) -> None:
    conn.execute(done.encode())
    conn.execute("alter table public.reservations disable trigger log_moves")
    told = missing(conn)

    with pytest.raises(NotMended) as refused:
        migrate(dsn)

    assert why in str(refused.value)
    assert missing(conn) == told


def test_a_database_of_a_later_version_is_compared_by_names_alone(conn: Connection) -> None:
    conn.execute("insert into public.schema_migrations (version) values ('schema/777_from_the_future')")
    conn.execute(NOTHING)
    conn.execute("delete from public.moves")

    assert missing(conn) == []


def test_a_key_that_was_made_a_bigint_as_the_doctor_advises_is_as_it_has_to_be(conn: Connection) -> None:
    conn.execute("alter table public.api_users alter column user_id type bigint")

    assert missing(conn) == []


def test_a_word_that_somebody_added_to_a_list_of_words_is_no_harm(conn: Connection, dsn: str) -> None:
    conn.execute("alter type autoscaler.node_status add value 'RESTING'")

    assert missing(conn) == []
    assert migrate(dsn) == []


def test_rights_on_what_others_have_beside_ours_are_not_missed(conn: Connection) -> None:
    conn.execute("alter table public.dead_letters add column theirs text; create table public.theirs (id integer)")
    conn.execute("create view public.view_of_theirs as select * from public.theirs")

    assert missing(conn) == []


def test_what_is_looked_for_is_found_whatever_the_search_path_is(conn: Connection) -> None:
    for path in ("public, hopsworks, autoscaler, clusters, pgmq", "pgmq", "''"):
        conn.execute(f"set search_path = {path}")

        assert missing(conn) == []
        assert conn.execute("show search_path").fetchone() == (path if path != "''" else '""',)


def _in_any_order(text: str) -> list[str]:
    """A column that was made again is the last of its table."""
    return sorted(line.rstrip(",") for line in comparable(text).splitlines() if not line.startswith("COPY"))
