"""The house: a folder a kind, one name everywhere, rooms of a size, walls; and schemas are those of the code."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import grimp
import pytest

from pgfleet.console.commands.running.worker import kinds
from pgfleet.schema.database.catalog import sql_files, views
from pgfleet.schema.published import json_schema
from worlds.fleet import REPOSITORY

PLACES = (
    "schema/{kind}.py",
    "producers/{kind}.py",
    "workers/{kind}/__init__.py",
    "deploy/chart/kinds/{kind}.yaml",
    "tests/{kind}/test_machine.py",
)
PACKAGES = ("schema", "producers", "workers", "console", "fixtures")
TOP = {
    *PACKAGES,
    *("bench", "deploy", "src", "tests"),
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "DATABASE.md", "LICENSE", "README.md"),
    "SECURITY.md",
    *("Makefile", "pyproject.toml"),
}
MOST_MODULES = 16
# The one large room: the objects of a Kubernetes API server, a module a subject.
LARGE = {"console/sandbox/kubernetes"}


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def rooms(*folders: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its modules and folders, without their endings."""
    for folder in sorted({path.parent for path in python_files(*folders)}):
        things = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
        yield named(folder), sorted(path.stem for path in things if not path.stem.startswith("__"))


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("pgfleet", exclude_type_checking_imports=True)


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_has_its_files_in_every_folder(kind: str) -> None:
    machines = (REPOSITORY / "schema").glob(f"0*_{kind}_machine.sql")

    missing = [place.format(kind=kind) for place in PLACES if not (REPOSITORY / place.format(kind=kind)).exists()]

    assert missing == []
    assert [named(path) for path in machines] != [], f"schema/0NN_{kind}_machine.sql is missing"


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_makes_its_queue_and_what_its_sweep_reads(kind: str) -> None:
    served: Any = import_module(f"pgfleet.workers.{kind}").KIND
    text = "\n".join(file.text for file in sql_files())
    read_by_sweep = {f"public.forgotten_{tickets.machine}" for tickets in getattr(served, "tickets", ())}

    assert f"create_fleet_queue('{served.queue}'" in text, "a file schema/1NN_... of the kind makes its queue"
    assert read_by_sweep - set(views()) == set(), "a file schema/1NN_... of the kind makes the view"


@pytest.mark.parametrize("kind", kinds())
def test_nothing_but_its_own_folder_imports_a_kind(kind: str) -> None:
    place = f"pgfleet.workers.{kind}"
    inside = {place, *imports().find_descendants(place)}

    importers = {name for module in inside for name in imports().find_modules_that_directly_import(module)}

    assert {name for name in importers - inside if name.startswith("pgfleet.workers")} == set()


def test_modules_do_not_import_one_another_in_a_circle() -> None:
    circles = [
        (module, imported)
        for module in imports().modules
        for imported in imports().find_modules_directly_imported_by(module)
        # A package names what is in it, which names the package by being in it.
        if not imported.startswith(f"{module}.") and imports().find_shortest_chain(imported, module) is not None
    ]

    assert circles == []


def test_at_the_top_there_is_nothing_without_a_reason() -> None:
    here = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}

    assert here - TOP - {path.name for path in REPOSITORY.glob("*.egg-info")} - {"build"} == set()


def test_each_folder_at_the_top_is_a_package_of_the_one_name() -> None:
    links = {path.name: path.resolve() for path in (REPOSITORY / "src/pgfleet").iterdir() if path.is_symlink()}

    assert links == {name: REPOSITORY / name for name in PACKAGES}


def test_no_folder_has_more_modules_than_a_person_overlooks() -> None:
    modules = Counter(named(path.parent) for path in python_files(*PACKAGES, "bench", "tests") if path.stem[:2] != "__")
    large = {folder: number for folder, number in modules.items() if number > MOST_MODULES}

    assert large.keys() - LARGE == set(), large


def test_what_begins_with_its_neighbours_name_is_a_folder() -> None:
    prefixed = [
        f"{folder}/{name}"
        for folder, names in rooms(*PACKAGES, "bench", "tests")
        for name in names
        if any(name.startswith(f"{other}_") for other in names)
    ]

    assert prefixed == []


def test_sessions_with_the_database_are_opened_in_one_place() -> None:
    opens = re.compile(
        r"\b(?:psycopg\.(?:Async)?[cC]onnect(?:ion\.connect)?|Session\.connect)\("
        r"|(?<!httpcore\.)\b(?:ConnectionPool|create_engine)\("
    )
    # Programs that others wrote are measured as they are.
    ours = [path for path in python_files(*PACKAGES, "bench") if "bench/peer_scripts" not in named(path)]

    places = [named(path) for path in ours if opens.search(path.read_text(encoding="utf-8"))]

    assert places == ["schema/database/sessions.py"]


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    silent = [named(path) for path in python_files(*PACKAGES, "bench") if not _says_something(path)]

    assert silent == []


def _says_something(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return not text.strip() or text.startswith(('"""', 'r"""'))


def test_no_file_is_longer_than_a_person_reads_at_a_sitting() -> None:
    lengths = {named(path): len(path.read_text("utf-8").splitlines()) for path in python_files(*PACKAGES, "bench")}

    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_tests_are_in_a_folder_for_each_room_of_the_house() -> None:
    here = [path.name for path in (REPOSITORY / "tests").glob("*.py")]
    kinds_of_tests = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir()}

    assert sorted(here) == ["conftest.py", "test_layout.py"]
    assert {"runtime", "schema", "console", "clients", "sandbox", "worlds"} <= kinds_of_tests


@pytest.mark.parametrize("queue", list(json_schema.QUEUES))
def test_the_published_schema_is_that_of_the_code(queue: str) -> None:
    path = json_schema.FOLDER / f"{queue}.json"
    published = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    assert published == json_schema.schema_of(queue), "run: make generated"


def test_the_readmes_example_is_a_message_that_we_read() -> None:
    from pgfleet.schema.reservation import read  # noqa: PLC0415

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    body = text.partition("pgmq.send('gpu_reservations', '")[2].partition("');")[0]

    assert read(json.loads(body)).reservation_id == "7c9e6679-7425-40de-944b-e07fc1f90ae7"  # type: ignore[attr-defined]


def test_paths_that_the_pages_and_comments_name_are_there() -> None:
    pages = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md"), *python_files(*PACKAGES, "bench")]
    pages += [path for folder in ("schema", "deploy") for path in (REPOSITORY / folder).rglob("*.[sy][qa]*")]
    path_in_text = re.compile(r"(?<![\w/.-])((?:schema|producers|workers|console|tests|bench)/[\w/]+\.(?:py|sql))")

    gone = [
        f"{named(page)}: {path}"
        for page in pages
        for path in path_in_text.findall(page.read_text("utf-8"))
        if not (REPOSITORY / path).exists()
    ]

    assert gone == []
