"""The documents: as the specifications have them, in the package as the code makes them, and what the page says."""

import json
import re
from typing import Any

import jsonschema_rs
import psycopg
import pytest

from pgfleet.producers.http.openapi import publish
from pgfleet.schema.feed import reading
from worlds.database import Connection
from worlds.feed.moves import make

DOCUMENTS = publish.documents()
OPENAPI, ASYNCAPI = DOCUMENTS["openapi.json"], DOCUMENTS["asyncapi.json"]
METHODS = {"get", "put", "post", "delete", "patch"}
# What OpenAPI 3.1 has in an operation, a parameter and an answer.
IN_OPERATION = {
    *("tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody", "responses"),
    *("callbacks", "deprecated", "security", "servers"),
}
IN_PARAMETER = {
    "name",
    "in",
    "description",
    "required",
    "deprecated",
    "schema",
    "example",
    "examples",
    "style",
    "explode",
}
IN_RESPONSE = {"description", "headers", "content", "links"}


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(references(each) for each in part.values()))
    return set().union(*(references(each) for each in part)) if isinstance(part, list) else set()


def found(document: dict[str, Any], reference: str) -> Any:
    at: Any = document
    for name in reference.removeprefix("#/").split("/"):
        at = at[name]
    return at


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, each) for path, item in OPENAPI["paths"].items() for method, each in item.items()]


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_the_document_in_the_package_is_that_of_the_code(name: str) -> None:
    path = publish.FOLDER / name

    assert path.exists(), "run: make generated"
    assert path.read_text(encoding="utf-8") == publish.text_of(DOCUMENTS[name]), "run: make generated"


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    text = publish.PAGE.read_text(encoding="utf-8")

    assert "`GET /v1/me`" in text
    assert publish.page(text) == text, "run: make generated"


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_every_reference_leads_somewhere(name: str) -> None:
    listed = references(DOCUMENTS[name])

    assert len(listed) > 20
    assert [each for each in listed if found(DOCUMENTS[name], each) is None] == []


def test_openapi_is_as_its_specification_has_it() -> None:
    """What its meta-schema says of operations, parameters, answers and security, without asking the network for it."""
    ids = [each["operationId"] for _, _, each in operations()]
    known = set(OPENAPI["components"]["securitySchemes"])

    assert re.fullmatch(r"3\.1\.\d+", OPENAPI["openapi"])
    assert {"title", "version"} <= OPENAPI["info"].keys()
    assert not {"identifier", "url"} <= OPENAPI["info"]["license"].keys()
    assert len(set(ids)) == len(ids)
    assert {
        name
        for each in [OPENAPI, *(each for _, _, each in operations())]
        for asked in each.get("security", [])
        for name in asked
    } <= known
    for path, method, each in operations():
        assert method in METHODS
        assert path.startswith("/")
        assert each.keys() <= IN_OPERATION
        parameters = each.get("parameters", [])
        assert all(one.keys() <= IN_PARAMETER and "schema" in one for one in parameters)
        assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))
        for status, answer in each["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            whole = found(OPENAPI, answer["$ref"]) if "$ref" in answer else answer
            assert whole["description"]
            assert whole.keys() <= IN_RESPONSE


def test_schemas_of_the_documents_are_schemas() -> None:
    """By JSON Schema 2020-12, whose meta-schema the validator has with it."""
    for document in DOCUMENTS.values():
        for name, schema in document["components"]["schemas"].items():
            assert jsonschema_rs.meta.is_valid(schema), name


def test_examples_of_bodies_are_what_their_schemas_say() -> None:
    tried = 0
    for path, method, each in operations():
        content = each.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            whole = {**content["schema"], "components": OPENAPI["components"]}
            assert jsonschema_rs.is_valid(whole, content["example"]), f"{method} {path}"
            tried += 1

    assert tried > 5


def test_asyncapi_is_as_its_specification_has_it() -> None:
    """Channels, operations and messages, and that they name each other as AsyncAPI 3 asks."""
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= ASYNCAPI["info"].keys()
    for server in ASYNCAPI["servers"].values():
        assert {"host", "protocol"} <= server.keys()
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert found(ASYNCAPI, operation["channel"]["$ref"]) in ASYNCAPI["channels"].values()
    for channel in ASYNCAPI["channels"].values():
        assert channel["messages"]
        assert all(found(ASYNCAPI, each["$ref"])["payload"] for each in channel["messages"].values())
        assert all(found(ASYNCAPI, each["$ref"]) in ASYNCAPI["servers"].values() for each in channel["servers"])


def test_an_event_is_what_asyncapi_says(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        event = _event(conn)

    jsonschema_rs.validate(ASYNCAPI["components"]["schemas"]["Event"], event)
    assert event["type"] == "fleet.reservation.pending"


def _event(conn: Connection) -> dict[str, Any]:
    start = reading.end(conn)
    make(conn, "r1")
    (event,) = reading.read(conn, start).events
    read: dict[str, Any] = json.loads(event.json())
    return read
