"""Whatever way a database was brought here, it is the same database."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from pgfleet.schema.database import migrate as program
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import migrate
from worlds.database import comparable, dump, fresh_database

FILES = sql_files()


@pytest.fixture(scope="module")
def whole(server_dsn: str, template: str) -> str:
    """What a database is that was made at once."""
    with fresh_database(server_dsn, template) as dsn:
        return comparable(dump(dsn))


@pytest.mark.parametrize("first", [1, 4, 8, 10, 12, 15, 18, 21])
def test_a_database_that_has_the_first_files_gets_the_others(
    server_dsn: str, whole: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fresh_database(server_dsn) as older:
        monkeypatch.setattr(program, "sql_files", lambda: FILES[:first])
        migrate(older)
        monkeypatch.setattr(program, "sql_files", lambda: FILES)

        applied = migrate(older)

        assert [file.version for file in applied] == [file.version for file in FILES[first:]]
        assert comparable(dump(older)) == whole


def test_each_file_alone_after_those_before_it_makes_the_same(server_dsn: str, whole: str) -> None:
    with fresh_database(server_dsn) as stepwise:
        for number in range(1, len(FILES) + 1):
            apply_first(stepwise, number)

        assert comparable(dump(stepwise)) == whole


def test_four_processes_at_once_apply_every_file_once(empty_dsn: str, whole: str) -> None:
    forks = get_context("forkserver")
    # Imported once, and not four times.
    forks.set_forkserver_preload([migrate.__module__])
    with ProcessPoolExecutor(4, mp_context=forks) as processes:
        runs = list(processes.map(migrate, [empty_dsn] * 4))

    assert sorted(len(applied) for applied in runs) == [0, 0, 0, len(FILES)]
    assert comparable(dump(empty_dsn)) == whole


def apply_first(dsn: str, number: int) -> None:
    """The program as it was when it had so many files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "sql_files", lambda: FILES[:number])
        migrate(dsn)
