"""The demo would notice if what it claims were not so; that it is so, tests/demo sees."""

from pgfleet.console.demo.check import check
from pgfleet.console.demo.story import Line, Planned, Story, story
from pgfleet.console.demo.view import Scene
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.reads import reservation as reads
from worlds.fleet import Connection, Worker, row_of, until
from worlds.reservations import active, status_of


def scene_of(conn: Connection) -> Scene:
    rows = reads.listing(conn, reads.Filters(ended_too=True))
    scene = Scene({row["reservation_id"]: row for row in rows}, reads.types(conn))
    for move in reads.moves_since(conn, 0):
        scene.history[move["row_id"]].append(move)
    return scene


def story_of(row_id: str) -> Story:
    one = Planned("h100", 2, 6, reservation_id=row_id)
    line = Line(held=(one, one), part=one, gang=one, small=one)
    return Story(planned=(one,), first=(), reactions=(), extended=one, broken=one, warned=one, line=line)


def untrue(conn: Connection, box: Box, told: Story, scene: Scene) -> str:
    claims, _ = check(conn, box, told, scene)
    return "\n".join(f"{text}: {against}" for text, against in claims.items() if against)


def test_a_reservation_that_is_not_over_is_noticed(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)

    found = untrue(conn, box, story_of(row_id), scene_of(conn))

    assert "is active: Ready" in found
    assert "no GPU is held: ('h100: 2',)" in found
    assert "nothing is left in the cluster: ('1 pods', '1 services')" in found
    assert "the malformed message is not there" in found


def test_a_gap_in_a_history_is_noticed(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    conn.execute("delete from public.status_history where to_status = 'preparing'")

    found = untrue(conn, box, story_of(row_id), scene_of(conn))

    assert "(new) pending active, its row says active" in found


def test_a_pod_that_was_made_twice_is_noticed_unless_its_reservation_was_let_in_again(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    pods, name = worker.running.tools.pods, row_of(conn, row_id)["pod_name"]
    pods.api.delete_namespaced_pod(name, pods.namespace)
    until(lambda: pods.find(name) is None)
    again = {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    pods.api.create_namespaced_pod(pods.namespace, again)

    noticed = untrue(conn, box, story_of(row_id), scene_of(conn))
    conn.execute(
        "insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)"
        " values ('reservation', %s, 'queued', 'preparing', 'admitted', 'test')",
        (row_id,),
    )
    let_in_again = untrue(conn, box, story_of(row_id), scene_of(conn))

    assert "no pod was made twice: ('2 pods for 1 admissions, 1 twice',)" in noticed
    assert "no pod was made twice" not in let_in_again


def test_another_end_than_planned_is_noticed(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    conn.execute("update public.reservations set status = 'failed', ticket = -1")
    assert status_of(conn, row_id) == "failed"

    found = untrue(conn, box, story_of(row_id), scene_of(conn))

    assert "went ('active', 'failed')" in found


def test_a_reservation_that_was_lost_is_noticed(conn: Connection, box: Box) -> None:
    told = story()

    found = untrue(conn, box, told, scene_of(conn))

    assert found.count("does not exist") == sum(one.nodes for one in told.planned)


def test_a_gang_that_did_not_start_at_once_and_a_warning_that_was_not_given_are_noticed(
    conn: Connection, box: Box
) -> None:
    found = untrue(conn, box, story(), scene_of(conn))

    assert "started on all of them at once: ('its nodes started at None'" in found
    assert "that the gang did not wait for: ('the gang waited at None" in found
    assert "was warned, once: ('" in found


def test_no_message_of_the_story_is_out_of_range(conn: Connection, worker: Worker, box: Box) -> None:
    told = story()
    acts = [*told.first, *(reaction.act for reaction in told.reactions)]

    for act in acts:
        act(conn)

    assert len(told.planned) == 32
    row = conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone()
    assert row == (len(acts),)
