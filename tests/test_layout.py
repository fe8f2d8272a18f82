"""A kind has one name in every folder, and the published schemas are those of the code."""

import json
from pathlib import Path

import pytest
from fleet import REPOSITORY

from schema import json_schema

PLACES = (
    "schema/{kind}.py",
    "producers/{kind}.py",
    "deploy/base/{kind}.yaml",
    "tests/test_{kind}.py",
)


def kinds() -> list[str]:
    """A worker's module serves a kind of its own name."""
    modules = (REPOSITORY / "workers").glob("*.py")
    return sorted(path.stem for path in modules if "serve(KIND)" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_has_its_files_in_every_folder(kind: str) -> None:
    missing = [place.format(kind=kind) for place in PLACES if not (REPOSITORY / place.format(kind=kind)).exists()]

    assert missing == []
    assert list((REPOSITORY / "schema").glob(f"*_{kind}_machine.sql"))


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    folders = ("schema", "producers", "workers", "console", "bench")
    modules = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    silent = [str(path.relative_to(REPOSITORY)) for path in modules if not _says_something(path)]

    assert silent == []


def _says_something(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return not text.strip() or text.startswith(('"""', 'r"""'))


def test_no_file_is_longer_than_a_person_reads_at_a_sitting() -> None:
    folders = ("schema", "producers", "workers", "console", "bench")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    long = {path.name: lines for path in files if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300}

    assert long == {}


@pytest.mark.parametrize("queue", list(json_schema.QUEUES))
def test_the_published_schema_is_that_of_the_code(queue: str) -> None:
    published = json.loads((json_schema.FOLDER / f"{queue}.json").read_text(encoding="utf-8"))

    assert published == json_schema.schema_of(queue), "run: make generated"


def test_the_readmes_example_is_a_message_that_we_read() -> None:
    from schema.reservation import read  # noqa: PLC0415

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    body = text.partition("pgmq.send('gpu_reservations', '")[2].partition("');")[0]

    assert read(json.loads(body)).reservation_id == "7c9e6679-7425-40de-944b-e07fc1f90ae7"  # type: ignore[attr-defined]
