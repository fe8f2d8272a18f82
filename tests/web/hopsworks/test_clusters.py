from worlds.outside.hopsworks import KEY, assigned, bodies, fail_check, hopsworks, open_breaker, person
from worlds.web.site import Site


def states(site: Site) -> list[tuple[str]]:
    return site.api.conn.execute("select status from hopsworks.hopsworks_clusters order by name").fetchall()


def test_the_fullest_is_first_and_what_does_not_answer_says_so(site: Site) -> None:
    hopsworks(site.api.conn, "quiet", max_users=10)
    busy = hopsworks(site.api.conn, "busy", max_users=1)
    assigned(site.api.conn, person(site.api.conn, "auth0|ada"), "active", busy)
    open_breaker(site.api.conn, busy, reason="connection timed out")

    page = site.signed_in("ops", "DEVOPS").get("/hopsworks").text

    assert page.index(">busy</a>") < page.index(">quiet</a>")
    assert "does not answer" in page
    assert 'title="connection timed out"' in page
    assert "1 of 1 seat taken" in page
    assert KEY not in page


def test_a_cluster_is_drained_after_a_sentence_and_opened_again(site: Site) -> None:
    """Pressed twice it is drained once."""
    cluster = hopsworks(site.api.conn, "eu-1")
    assigned(site.api.conn, person(site.api.conn, "auth0|ada"), "active", cluster)
    boss = site.signed_in("boss", "ADMIN")
    page = boss.get(f"/hopsworks/clusters/{cluster}")

    drained = [boss.press(page, "/do/drain_hopsworks_cluster", move="on", reason="old") for _ in range(2)]
    during = states(site)
    opened = boss.press(boss.get(f"/hopsworks/clusters/{cluster}"), "/do/open_hopsworks_cluster")

    assert page.text.index("takes no new users") < page.text.index(">Drain</button>")
    assert [answer.status_code for answer in (*drained, opened)] == [303] * 3
    assert (during, states(site)) == ([("maintenance",)], [("active",)])
    assert bodies(site.api.conn) == [{"action": "drain", "cluster_id": cluster}]
    assert ("HOPSWORKS_CLUSTER_DRAINED", "old") in site.api.audited("action", "description")


def test_its_users_stay_where_that_is_chosen(site: Site) -> None:
    cluster, boss = hopsworks(site.api.conn, "eu-1"), site.signed_in("boss", "ADMIN")

    boss.press(boss.get(f"/hopsworks/clusters/{cluster}"), "/do/drain_hopsworks_cluster", move="off")

    assert states(site) == [("maintenance",)]
    assert bodies(site.api.conn) == []


def test_devops_look_and_change_nothing_and_users_do_neither(site: Site) -> None:
    cluster = hopsworks(site.api.conn, "<b>eu</b>")
    fail_check(site.api.conn, cluster, "reachable", details="<i>wrong</i>")
    ops, ada = site.signed_in("ops", "DEVOPS"), site.signed_in("ada")

    page = ops.get(f"/hopsworks/clusters/{cluster}")
    done = ops.post("/do/drain_hopsworks_cluster", {"path.id": cluster, "once": "x"})

    assert page.status_code == 200
    assert "Drain" not in page.text
    assert "<b>eu</b>" not in page.text
    assert "<i>wrong</i>" not in page.text
    assert done.status_code == 403
    assert [ada.get(path).status_code for path in ("/hopsworks", f"/hopsworks/clusters/{cluster}")] == [403, 403]
    assert states(site) == [("active",)]


def test_where_there_is_none_it_says_how_one_is_added(site: Site) -> None:
    assert "pgfleet hopsworks add" in site.signed_in("ops", "DEVOPS").get("/hopsworks").text
