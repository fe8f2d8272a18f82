from worlds.outside.hopsworks import assigned, bodies, hopsworks, person
from worlds.web.site import Site

ADA, BOB = "auth0|ada", "auth0|bob"
OF_ADA = "/hopsworks/users/auth0%7Cada"


def two_users(site: Site) -> str:
    cluster = hopsworks(site.api.conn, "eu-1")
    assigned(site.api.conn, person(site.api.conn, ADA, name="<script>x</script>"), "active", cluster)
    assigned(site.api.conn, person(site.api.conn, BOB), "pending")
    return cluster


def test_a_user_is_moved_suspended_and_released_by_an_administrator(site: Site) -> None:
    """Each is sent once, though it is pressed twice."""
    two_users(site)
    other = hopsworks(site.api.conn, "us-1")
    boss = site.signed_in("boss", "ADMIN")
    page = boss.get(OF_ADA)

    for _ in range(2):
        boss.press(page, "/do/assign_user", cluster_id=other)
        boss.press(page, "/do/suspend_user")
        boss.press(page, "/do/release_user", reason="has left")

    sent = bodies(site.api.conn)
    assert [body["action"] for body in sent] == ["assign", "suspend", "release"]
    assert (sent[0]["cluster_id"], sent[2]["reason"]) == (other, "has left")
    assert page.text.index("loses the seat") < page.text.index(">Release</button>")
    assert "<script>x" not in page.text
    assert "On its way" in boss.get(OF_ADA).text


def test_a_user_sees_their_own_place_and_no_buttons(site: Site) -> None:
    two_users(site)
    ada = site.signed_in(ADA)

    page, listed = ada.get(OF_ADA), ada.get("/hopsworks/users").text

    assert page.status_code == 200
    assert "eu-1" in page.text
    assert "Release" not in page.text
    assert ada.get("/hopsworks/users/auth0%7Cbob").status_code == 404
    assert "bob@example.org" not in listed
    assert OF_ADA in ada.get("/me").text


def test_who_waits_is_found_by_the_filter(site: Site) -> None:
    cluster, ops = two_users(site), site.signed_in("ops", "DEVOPS")

    waiting = ops.get("/hopsworks/users?waiting=true").text
    one = ops.get("/hopsworks/users?user_id=ADA@example.org").text
    on_it = ops.get(f"/hopsworks/users?cluster_id={cluster}").text

    assert "bob@example.org" in waiting
    assert "ada@example.org" not in waiting
    assert "bob@example.org" not in on_it + one
    assert OF_ADA in one
    assert "ada@example.org" in on_it
