"""What each page of the dashboard costs in a large fleet: rows read, which no busy machine changes, and CPU time."""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from starlette.responses import Response

from pgfleet.console.web.found import pages
from pgfleet.console.web.look.frame import Around, framed
from pgfleet.console.web.page import Page, Screen, View
from pgfleet.console.web.site import site
from pgfleet.producers.http.answering import Asked
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.speaking import Origin
from worlds.api.server import Api, api_on
from worlds.database import fresh_database

FULL = (Path(__file__).parents[1] / "worlds" / "web" / "full.sql").read_text(encoding="utf-8")
TIMES = 5
# What a page takes of CPU, ours and the server's: on a busy machine it waits besides.
MOST_CPU_MS = 200
# Rows and entries of indexes; most pages read some hundred.
MOST_ROWS = 600_000
# Everything that this session has read and not yet told the server's statistics: rows of tables, entries of indexes.
READ = b"""
select coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::bigint
from pg_class c
where c.relkind in ('r', 'i', 'm', 't') and c.relnamespace <> 'pg_catalog'::regnamespace
"""


def _id(name: str) -> str:
    """As `full.sql` makes them."""
    return str(UUID(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()))


WAITING, ACTIVE, OVER = (_id(f"r{number}") for number in (100, 1000, 50_000))
# What stands in the addresses of pages about one thing.
ADDRESSES: dict[str, tuple[str, ...]] = {
    "/reservations/{id}": (WAITING, ACTIVE, OVER),
    "/reservations/{id}/logs": (ACTIVE,),
    "/disks/{name}": ("home",),
    "/disk-operations/{operation_id}": (_id("o1"),),
    "/dead-letters/{id}": ("100",),
    "/nodes/{id}": ("17",),
    "/nodes/{id}/configuration": ("17",),
    "/clusters/{id}": ("cluster-00000018-2026-01-01-00-00-00-abcdefgh",),
    "/clusters/{id}/nodes/{node}": (
        "cluster-00000018-2026-01-01-00-00-00-abcdefgh/node-00000017-2026-01-01-1-abcdefgh",
    ),
    "/hopsworks/clusters/{id}": (_id("h1"),),
    "/hopsworks/users/{user_id}": ("auth0|17",),
    "/subscriptions/{id}": (_id("e1"),),
    "/usage/{user_id}": ("auth0|17",),
    "/users/{id}": ("17",),
}
FILTERS: dict[str, tuple[str, ...]] = {
    "/reservations": (
        "status=queued", "status=expired", "status=preparing", "gpu_type=h100", "gpu_type=none", "user_id=user-1",
        "user_id=nobody", "live=true", "status=failed&gpu_type=a100&user_id=user-7",
    ),
    "/reserve/ahead": (
        "gpu_type=h100&gpu_count=1&duration_hours=8", "gpu_type=h100&gpu_count=8&total_nodes=2&duration_hours=8",
    ),
    "/disks": ("user_id=user-1",),
    "/dead-letters": ("kind=reservation", "kind=disk", "verdict=rejection"),
    "/nodes": ("region=region-7",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A page with a query, and what stands in its address."""

    page: Page
    query: str
    path: dict[str, str]

    def __str__(self) -> str:
        return self.page.path + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the cheapest of some times that a page was asked for; on a busy machine each takes longer than it needs."""

    rows: int
    wall_ms: float
    python_ms: float
    postgres_ms: float
    kilobytes: float


def askings(page: Page) -> Iterator[Asking]:
    names = re.findall(r"\{(\w+)\}", page.path)
    for values in ADDRESSES.get(page.path, ("",)):
        path = dict(zip(names, values.split("/"), strict=bool(names)))
        for query in ("", *FILTERS.get(page.path, ())):
            yield Asking(page, query, path)


@pytest.fixture(scope="module")
def full(server_dsn: str, template: str) -> Iterator[Api]:
    """A server of the API on a database that is full."""
    with fresh_database(server_dsn, template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(FULL.encode())
            conn.execute("vacuum analyze")
            # What another process reads for this one would be counted nowhere.
            name = Identifier(conn.info.dbname)
            conn.execute(SQL("alter database {} set max_parallel_workers_per_gather = 0").format(name))
        with api_on(dsn, beside=site) as api:
            # Which pages show from then on.
            api.desk.examining.begun(Principal("ops", Role.ADMIN, Proof.KEY)).result()
            yield api


def cost_of(api: Api, asking: Asking, key: str) -> Cost:
    """What it takes to prove, read, and write it as HTML, as `GET` of it does."""
    found = [_once(api, asking, key) for _ in range(TIMES)]
    return Cost(
        found[-1].rows,
        *(min(getattr(each, name) for each in found) for name in ("wall_ms", "python_ms", "postgres_ms", "kilobytes")),
    )


def _once(api: Api, asking: Asking, key: str) -> Cost:
    rows, backend, page = list[int](), list[int](), asking.page

    @wraps(page.show)
    def counted(view: View) -> Screen:
        backend.append(view.call.conn.info.backend_pid)
        backend.append(_on_cpu_ns(backend[0]))
        before = _read_so_far(view)
        screen = page.show(view)
        rows.append(_read_so_far(view) - before)
        return screen

    def written(view: View, screen: Screen) -> bytes:
        return framed(page, screen.title, screen.parts, view.call.principal, pages(), Around(), None)

    endpoint = replace(page, show=counted).endpoint(written)
    headers = {"authorization": f"Bearer {key}"}
    asked = Asked(asking.path, asking.query.encode(), headers, b"", Origin(), "here")
    began, cpu_s = time.perf_counter(), time.thread_time()
    answer = api.desk.answer(endpoint, asked)
    wall_ms, python_ms = (time.perf_counter() - began) * 1e3, (time.thread_time() - cpu_s) * 1e3
    assert isinstance(answer, Response)
    if not rows:
        # There is no such thing, or it is not for who asks, and that is told.
        assert answer.status_code in {403, 404}, (str(asking), answer.body)
        return Cost(0, wall_ms, python_ms, 0, len(answer.body) / 1024)
    assert answer.status_code == 200, (str(asking), answer.body)
    return Cost(rows[0], wall_ms, python_ms, (_on_cpu_ns(backend[0]) - backend[1]) / 1e6, len(answer.body) / 1024)


def _read_so_far(view: View) -> int:
    row = view.call.conn.execute(READ).fetchone()
    assert row is not None
    return int(row[0])


def _on_cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


@pytest.mark.parametrize("role", [Role.ADMIN, Role.USER], ids=lambda role: role.value)
def test_each_page_reads_little_of_a_large_fleet_and_takes_less_than_200_ms(full: Api, role: Role) -> None:
    key = full.key_of("user-1" if role == Role.USER else "ops", role.value)
    seen = [page for page in pages() if whose(page.permission, role) != Whose.NOBODYS]

    costs = {asking: cost_of(full, asking, key) for page in seen for asking in askings(page)}

    print(f"\n{'':58}  {'rows':>8} {'wall ms':>8} {'python':>8} {'postgres':>8} {'KiB':>6}")  # noqa: T201  # a table
    for asking, cost in costs.items():
        figures = (cost.wall_ms, cost.python_ms, cost.postgres_ms, cost.kilobytes)
        print(f"{asking!s:58}  {cost.rows:8}", *(f"{figure:8.1f}" for figure in figures))  # noqa: T201  # same
    slow = {str(asking): cost for asking, cost in costs.items() if cost.rows > MOST_ROWS}
    slow |= {str(asking): cost for asking, cost in costs.items() if cost.python_ms + cost.postgres_ms > MOST_CPU_MS}
    assert slow == {}


def test_each_page_about_one_thing_is_measured() -> None:
    assert {page.path for page in pages() if "{" in page.path} == ADDRESSES.keys()
