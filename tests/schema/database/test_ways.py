"""Whatever way a database was brought here, it is the same database."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from pgfleet.schema.database import migrate as program
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import migrate
from worlds.database import comparable, dump, fresh_database

FILES = sql_files()


@pytest.mark.parametrize("first", [1, 4, 8, 10, 12, 15, 18, 21])
def test_a_database_that_has_the_first_files_gets_the_others(
    server_dsn: str, dsn: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fresh_database(server_dsn) as older:
        monkeypatch.setattr(program, "sql_files", lambda: FILES[:first])
        migrate(older)
        monkeypatch.setattr(program, "sql_files", lambda: FILES)

        applied = migrate(older)

        assert [file.version for file in applied] == [file.version for file in FILES[first:]]
        assert comparable(dump(older)) == comparable(dump(dsn))


def test_each_file_alone_after_those_before_it_makes_the_same(server_dsn: str, dsn: str) -> None:
    with fresh_database(server_dsn) as stepwise:
        for number in range(1, len(FILES) + 1):
            apply_first(stepwise, number)

        assert comparable(dump(stepwise)) == comparable(dump(dsn))


def test_four_processes_at_once_apply_every_file_once(empty_dsn: str, dsn: str) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        runs = list(processes.map(applied_versions, [empty_dsn] * 4))

    assert sorted(len(applied) for applied in runs) == [0, 0, 0, len(FILES)]
    assert comparable(dump(empty_dsn)) == comparable(dump(dsn))


def apply_first(dsn: str, number: int) -> None:
    """The program as it was when it had so many files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "sql_files", lambda: FILES[:number])
        migrate(dsn)


def applied_versions(dsn: str) -> list[str]:
    return [file.version for file in migrate(dsn)]
