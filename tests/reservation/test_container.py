"""What a user may have in a container: what Kubernetes or a kubelet would refuse is refused before it is sent."""

import json
import re
import time
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.container import unusable
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.published.json_schema import schema_of
from pgfleet.schema.reservation import CreateReservation, read
from worlds.fleet import Connection, Worker, new_id
from worlds.reservations import QUEUE, ended, letters

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
DIGEST = f"sha256:{'0a' * 32}"


def create(**fields: Any) -> CreateReservation:
    body = {"action": "create_reservation", "reservation_id": ID, "user_id": "ada", "gpu_type": "h100", "gpu_count": 1}
    message = read({**body, **fields})
    assert isinstance(message, CreateReservation)
    return message


def published(field: str) -> dict[str, Any]:
    found: dict[str, Any] = schema_of(QUEUE)["$defs"]["CreateReservation"]["properties"][field]
    return {**found, **found.get("anyOf", [{}])[0]}


IMAGES = [
    "busybox",
    "busybox:1",
    "ghcr.io/acme/dev:1.2-rc_1",
    "localhost:5000/a/b",
    "a/b__c/d-e--f.g",
    f"registry.example.com:443/a@{DIGEST}",
    f"a:1@{DIGEST}",
    f"{'0a' * 32}:1",
    "[2001:db8::1]:5000/a",
]
NO_IMAGES = [
    "",
    " busybox",
    "busybox ",
    "busy box",
    "busybox\n",
    "Busybox",
    "acme/Dev",
    "acme//dev",
    "/dev",
    "dev/",
    "dev:",
    "dev:-1",
    f"dev:{'1' * 129}",
    "dev@sha256:00",
    f"dev@{DIGEST.upper()}",
    "a_/b",
    "a___b/c",
    "https://ghcr.io/acme/dev",
    "a" * 256,
    "0a" * 32,
    f"a/{'b' * 600}",
]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_what_a_registry_calls_so(image: str) -> None:
    assert create(dockerimage=image).dockerimage == image
    assert re.search(published("dockerimage")["pattern"], image)


@pytest.mark.parametrize("image", NO_IMAGES, ids=range(len(NO_IMAGES)))
def test_what_no_kubelet_can_read_is_no_image(image: str) -> None:
    with pytest.raises(BadMessage, match="dockerimage: must"):
        create(dockerimage=image)


def test_what_could_be_the_id_of_an_image_is_published_as_none() -> None:
    assert re.search(published("dockerimage")["not"]["pattern"], "0a" * 32)


def test_a_long_text_is_found_to_be_no_image_at_once() -> None:
    began = time.process_time()

    for text in ("a-" * 255 + "!", "a." * 255 + "!", "a/" * 255 + "!", "a_" * 255 + "!", "A" * 511 + "!"):
        with pytest.raises(BadMessage):
            create(dockerimage=text)

    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["A", "_a", "a.b-c", "1", "my var", "%", "a" * 255])
def test_a_variable_has_a_name_as_kubernetes_has_them(name: str) -> None:
    assert create(env_vars={name: ""}).env_vars == {name: ""}
    assert re.search(published("env_vars")["propertyNames"]["pattern"], name)


@pytest.mark.parametrize("name", ["", "=", "A=B", "é", "a\tb", "a\n", "\x7f", "a" * 256])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    with pytest.raises(BadMessage, match="env_vars: names must"):
        create(env_vars={name: ""})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"env_vars": {f"A{number}": "" for number in range(1001)}}, "env_vars: must not be more than 1000"),
        ({"env_vars": {"A": "é" * 40_000}}, "env_vars: must not hold more than 64 KiB"),
        ({"env_vars": {"A": 1}}, "env_vars.A: must be text"),
        ({"command": "x" * 65_537}, "command: must have at most 65536 characters"),
        ({"command": "é" * 60_001}, "command: must not have more than 120000 bytes"),
        ({"secondary_users": ["bob", "../eve"]}, "secondary_users.1: must be a name at GitHub"),
        ({"secondary_users": ["bob"] * 51}, "secondary_users: must have at most 50 entries"),
        ({"github_user": "-ada"}, "github_user: must be a name at GitHub"),
        ({"github_user": "a" * 101}, "github_user: must be a name at GitHub"),
        ({"gpu_type": "h100-"}, "gpu_type: must be the name of a GPU type"),
    ],
)
def test_what_would_be_refused_later_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadMessage, match=re.escape(reason)):
        create(**fields)


@pytest.mark.parametrize("user", ["ada", "ada-1", "ada_corp", "a.b", "_", "A" * 100])
def test_a_github_name_may_be_one_of_an_enterprise_server(user: str) -> None:
    assert create(github_user=user, secondary_users=[user]).github_user == user


def test_with_a_github_user_a_user_id_may_be_anything() -> None:
    assert create(user_id="ada@example.com", github_user="ada").user_id == "ada@example.com"


def test_the_largest_that_is_taken_is_far_from_what_kubernetes_takes() -> None:
    """Control characters are six times as long in JSON as they are."""
    message = create(env_vars={"A": "\x01" * 65_000}, command="\x01" * 65_536)

    assert len(json.dumps({"env": message.env_vars, "command": message.command})) < 1_000_000


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"env_vars": Jsonb({"": "1"})}, "env_vars: names must be printable"),
        ({"env_vars": Jsonb({"A": 1})}, "env_vars.A: must be text"),
        ({"env_vars": Jsonb(["A"])}, "env_vars: must be an object"),
        ({"dockerimage": "busy box"}, "dockerimage: must be an image"),
        ({"command": "x" * 70_000}, "command: must have at most"),
        ({"github_user": "../ada"}, "github_user: must be a name at GitHub"),
        ({"secondary_users": Jsonb("bob")}, "secondary_users: must be a list"),
    ],
)
def test_a_row_of_another_service_is_looked_at_as_a_message_is(
    conn: Connection, worker: Worker, box: Box, columns: dict[str, Any], reason: str
) -> None:
    row_id = new_id()
    row = {
        "reservation_id": row_id,
        "user_id": "ada",
        "github_user": "ada",
        "gpu_type": "h100",
        "gpu_count": 1,
        **columns,
    }
    conn.execute(
        f"insert into public.reservations ({', '.join(row)}, status, duration_hours, created_at)"  # our own
        f" values ({', '.join(['%s'] * len(row))}, 'pending', 1, now())".encode(),
        list(row.values()),
    )
    conn.execute(
        "select pgmq.send(%s, %s)", (QUEUE, Jsonb({"action": "advance", "reservation_id": row_id, "ticket": 0}))
    )

    failed = ended(conn, worker, row_id)

    assert failed["status"] == "failed"
    assert reason in failed["failure_reason"]
    assert box.state()["created_pods"] == 0
    assert letters(conn) == []


def test_a_row_that_says_no_more_than_whose_keys_is_fine() -> None:
    columns = dict.fromkeys(["dockerimage", "env_vars", "command", "preserve_entrypoint", "secondary_users"])

    assert unusable({**columns, "user_id": "ada", "github_user": "ada"}) is None
