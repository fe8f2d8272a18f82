"""Who a heartbeat is from: a node speaks for itself only, by its login or by a proof made with its key."""

import hashlib
import hmac
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgfleet.producers.heartbeat import proven
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.heartbeat import read
from pgfleet.schema.nodes import keys
from pgfleet.schema.nodes.proofs import hash_of, is_proven, proof_of
from worlds.clusters import cluster_row, create
from worlds.fleet import REPOSITORY, move_clock
from worlds.heartbeats import Heart
from worlds.strangers import stranger_on

STRANGERS = {
    ("eve", "USER"): "eve",
    ("a-service", "SERVICE"): "a-service (SERVICE)",
    ("ada", "ADMIN"): "ada (ADMIN)",
    ("x", "?"): "",
}


def node_with_key(heart: Heart) -> tuple[int, str]:
    node = heart.node()
    return node, keys.rotate(heart.conn, str(node))


def cluster_node_with_key(heart: Heart, cluster: str | None = None) -> tuple[str, str]:
    node = heart.cluster_node(cluster)
    return node, keys.rotate(heart.conn, node)


def signed(heart: Heart, node: int | str, key: str, ahead_s: float = 0, /, **given: Any) -> dict[str, Any]:
    body = heart.beat(node, ahead_s, **given)
    return {**body, "proof": proof_of(hash_of(key), body)}


@pytest.mark.parametrize(("by", "role"), STRANGERS)
def test_a_stranger_without_a_proof_is_refused_by_name_and_changes_nothing(heart: Heart, by: str, role: str) -> None:
    node, _ = node_with_key(heart)
    before = heart.row(node)

    heart.asked(by, role, heart.beat(node, status="error"))

    assert heart.letters() == [f"proof: is missing; {STRANGERS[by, role]} is not {node}"]
    assert (heart.row(node), heart.history(node), heart.queue()) == (before, [], [])


def test_the_nodes_own_login_speaks_for_it_and_for_no_other(heart: Heart) -> None:
    own, other = heart.node(), heart.node()

    heart.asked(str(own), "NODE", heart.beat(own), heart.beat(other))

    assert (heart.status(own), heart.status(other)) == ("ACTIVE", "INACTIVE")
    assert heart.letters() == [f"node_id: {own} may ask for no other, such as {other}"]


@pytest.mark.parametrize("role", ["SERVICE", "USER", "DEVOPS", "ADMIN"])
def test_with_a_proof_anybody_may_bring_a_nodes_heartbeat(heart: Heart, role: str) -> None:
    node, key = node_with_key(heart)

    heart.asked("a-gateway", role, signed(heart, node, key))

    assert (heart.status(node), heart.letters()) == ("ACTIVE", [])


def test_a_node_of_a_cluster_proves_itself_alike_and_leads(heart: Heart) -> None:
    cluster = create(heart.conn)
    node, key = cluster_node_with_key(heart, cluster)

    heart.asked("a-gateway", "SERVICE", signed(heart, node, key, cpu_usage_percent=5))

    assert heart.status(node) == "online"
    assert cluster_row(heart.conn, cluster)["primary_node_id"] == node


def test_nobody_unseats_a_leader_with_a_heartbeat_in_its_name(heart: Heart) -> None:
    cluster = create(heart.conn)
    nodes = [heart.cluster_node(cluster) for _ in range(2)]
    heart.tell(*(heart.beat(node, cpu_usage_percent=5) for node in nodes))
    before = cluster_row(heart.conn, cluster)
    leader = before["primary_node_id"]
    (other,) = set(nodes) - {leader}

    heart.asked(other, "NODE", heart.beat(leader, status="error"), heart.beat(leader, cpu_usage_percent=99))
    heart.asked("eve", "USER", heart.beat(leader, cpu_usage_percent=99))

    assert cluster_row(heart.conn, cluster) == before
    assert len(heart.letters()) == 3


def test_a_proof_is_for_one_heartbeat_of_one_node(heart: Heart) -> None:
    (node, key), (other, _) = node_with_key(heart), node_with_key(heart)
    cluster_node, _ = cluster_node_with_key(heart)
    good = signed(heart, node, key)
    moved = [
        {**good, "node_id": other},
        {**good, "id": heart.beat(node)["id"]},
        {**good, "sent_at": heart.time(1)},
        {**good, "source": "cluster", "node_id": cluster_node},
        {**good, "proof": "0" * 64},
        {**signed(heart, other, key), "node_id": other},
    ]

    heart.asked("eve", "USER", *moved)

    assert all(letter.endswith("its proof fits no key of that node") for letter in heart.letters())
    assert len(heart.letters()) == len(moved)
    assert (heart.status(node), heart.status(other), heart.status(cluster_node)) == (
        "INACTIVE",
        "INACTIVE",
        "provisioning",
    )


def test_a_proof_that_is_shown_again_counts_once_and_after_a_day_not_at_all(heart: Heart) -> None:
    node, key = node_with_key(heart)
    body = signed(heart, node, key)
    heart.asked("a-gateway", "SERVICE", body)
    once = heart.kept(node)

    heart.asked("eve", "USER", body)
    move_clock(heart.conn, 86_400 + 60)
    heart.asked("eve", "USER", body)

    assert heart.kept(node) == once
    (letter,) = heart.letters()
    assert letter.endswith("and holds for a day")


@pytest.mark.parametrize("sent_at", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_proof_of_another_age_is_refused(heart: Heart, sent_at: str) -> None:
    node, key = node_with_key(heart)

    heart.asked("a-gateway", "SERVICE", signed(heart, node, key, sent_at=sent_at))

    assert heart.status(node) == "INACTIVE"
    assert len(heart.letters()) == 1


def test_a_rotated_key_holds_for_an_hour_and_a_revoked_one_no_longer(heart: Heart) -> None:
    node, old = node_with_key(heart)
    new = keys.rotate(heart.conn, str(node))
    move_clock(heart.conn, 3500)
    heart.asked("g", "SERVICE", signed(heart, node, old), signed(heart, node, new, 1))
    within = heart.letters()
    move_clock(heart.conn, 200)

    heart.asked("g", "SERVICE", signed(heart, node, old), signed(heart, node, new, 1))
    after = heart.letters()
    revoked = keys.revoke(heart.conn, str(node))
    heart.asked("g", "SERVICE", signed(heart, node, new))

    assert (within, len(after), revoked, len(heart.letters())) == ([], 1, 1, 2)
    assert heart.row(node)["api_key_hash"] is None


def test_the_newest_key_is_in_the_nodes_row_and_goes_with_the_node(heart: Heart) -> None:
    node, _ = node_with_key(heart)
    key = keys.rotate(heart.conn, str(node))
    known = heart.row(node)["api_key_hash"]

    keys.remove(heart.conn, str(node))
    heart.asked("g", "SERVICE", signed(heart, node, key))

    assert (known, heart.row(node)["api_key_hash"]) == (hash_of(key), None)
    assert heart.letters() == [
        f"proof: node {node}'s heartbeat was sent by g (SERVICE), and its proof fits no key of that node"
    ]


def test_a_stranger_makes_no_node_and_nothing_waits_for_one(heart: Heart) -> None:
    unknown = 2_000_000_000
    body = heart.beat(unknown)

    heart.asked("eve", "USER", {**body, "proof": proof_of(hash_of("guessed"), body)})

    assert (heart.queue(), len(heart.letters())) == ([], 1)
    assert heart.all("select 1 from autoscaler.nodes where id = %s", (unknown,)) == []


def test_the_good_of_a_claim_count_and_the_others_are_refused(heart: Heart) -> None:
    nodes = [node_with_key(heart) for _ in range(20)]
    trusted = heart.node()
    heart.ask("eve", "USER", *(heart.beat(node, status="error") for node, _ in nodes))
    heart.ask("g", "SERVICE", *(signed(heart, node, key) for node, key in nodes))

    heart.tell(heart.beat(trusted))

    assert {heart.status(node) for node, _ in nodes} | {heart.status(trusted)} == {"ACTIVE"}
    assert (len(heart.letters()), heart.queue()) == (20, [])


@pytest.mark.parametrize("action", ["sweep", "roll_up"])
def test_the_clocks_own_messages_are_taken_from_no_stranger(heart: Heart, action: str) -> None:
    heart.asked("eve", "USER", {"action": action})
    heart.asked("17", "NODE", {"action": action})

    assert len(heart.letters()) == 2
    assert heart.swept("node") is None


def test_real_logins_speak_for_their_node_or_bring_its_proof(heart: Heart) -> None:
    own, (other, key) = heart.node(), node_with_key(heart)
    service_node, service_key = node_with_key(heart)
    queues = ["node_heartbeats"]
    heart.one("select public.create_fleet_roles()::text")
    with (
        stranger_on(heart.dsn, role="pgfleet_node", queues=queues) as node_login,
        stranger_on(heart.dsn, role="pgfleet_node", queues=queues) as nobodys_login,
        stranger_on(heart.dsn, role="pgfleet_sender", queues=queues) as service,
        stranger_on(heart.dsn, queues=queues) as eve,
    ):
        keys.let(heart.conn, str(own), node_login.info.user)
        sent = "select pgmq.send('node_heartbeats', %s, %s::jsonb)"
        forged = Jsonb({"asked_by": str(other), "asked_role": "NODE", "pgfleet": {"sent_at": "2001-01-01T00:00:00Z"}})

        with pytest.raises(psycopg.Error, match="speaks for no node"):
            nobodys_login.execute(sent, (Jsonb(heart.beat(other)), forged))
        for conn, body in (
            (node_login, heart.beat(own)),
            (node_login, heart.beat(other, status="error")),
            (eve, heart.beat(other, status="error")),
            (service, heart.beat(other, status="error")),
            (eve, signed(heart, other, key)),
            (service, signed(heart, service_node, service_key)),
        ):
            conn.execute(sent, (Jsonb(body), forged))
        heart.worker.run_once(1000)
        heart.one("select public.unbind_node_login(%s)::text", (str(own),))

    assert [heart.status(node) for node in (own, other, service_node)] == ["ACTIVE"] * 3
    assert (len(heart.letters()), heart.queue()) == (3, [])


def test_a_proof_is_what_every_hmac_makes_of_it(heart: Heart) -> None:
    key = "Zm9vYmFy-_" * 6 + "abcd"
    body = heart.beat(17, sent_at="2026-11-28T14:03:00.5+01:00")
    text = f"autoscaler.17.{body['id']}.2026-11-28T14:03:00.5+01:00"
    key_hash = hashlib.sha256(key.encode()).hexdigest()

    made = proof_of(hash_of(key), body)

    assert made == hmac.new(key_hash.encode(), text.encode(), hashlib.sha256).hexdigest()
    openssl = shutil.which("openssl")
    if openssl is not None:
        command = [openssl, "dgst", "-sha256", "-hmac", key_hash]
        ended = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        assert ended.stdout.decode().split()[-1] == made


def test_what_our_producer_proves_is_read_as_proven(heart: Heart) -> None:
    node, key = node_with_key(heart)
    message = read(heart.beat(node, sent_at=datetime.now(UTC).isoformat()))

    heart.asked("eve", "USER", proven(message, key).model_dump(mode="json", exclude_none=True))  # type: ignore[arg-type]

    assert (heart.status(node), heart.letters()) == ("ACTIVE", [])


def test_keys_come_to_the_database_as_hashes_of_full_length(heart: Heart) -> None:
    node = str(heart.node())

    for given in ("secret", "A" * 64, "a" * 65, ""):
        with pytest.raises(psycopg.Error, match="key_hash"):
            heart.one("select public.add_node_key(%s, %s, 'abcdefgh')::text", (node, given))
    for nowhere in ("0", "2147483648", "99999999999", "node-x", "", None):
        with pytest.raises(psycopg.Error, match="there is no node"):
            heart.one("select public.add_node_key(%s, %s, 'abcdefgh')::text", (nowhere, "a" * 64))


def test_what_the_page_for_a_nodes_author_shows_is_a_proof(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    key, page = "a-key", (REPOSITORY / "workers/heartbeat/README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("PGFLEET_NODE_KEY", key)
    python, shell = (page.partition(f"```{language}\n")[2].partition("```")[0] for language in ("python", "sh"))

    shown = subprocess.run([sys.executable, "-c", python], capture_output=True, check=True).stdout

    assert is_proven(json.loads(shown), [hash_of(key)])
    if shutil.which("openssl"):
        told = subprocess.run(["sh", "-ec", f"{shell}\necho $id $sent_at $proof"], capture_output=True, check=True)
        beat, sent_at, proof = told.stdout.decode().split()
        assert is_proven({**heart.beat(17), "id": beat, "sent_at": sent_at, "proof": proof}, [hash_of(key)])


def test_a_key_of_which_only_the_hash_was_kept_before_goes_on_proving(heart: Heart) -> None:
    node, key = heart.node(), "a-key-of-before"
    heart.conn.execute("update autoscaler.nodes set api_key_hash = %s where id = %s", (hash_of(key), node))
    (file,) = (file.text for file in sql_files() if file.version == "schema/039_node_keys")

    for _ in range(2):
        heart.conn.execute(file.encode())
    heart.asked("a-gateway", "SERVICE", signed(heart, node, key))

    assert (heart.status(node), heart.letters()) == ("ACTIVE", [])
