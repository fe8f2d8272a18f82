import pytest

from pgfleet.schema.identity import accounts
from worlds.web.site import Site


def test_who_did_what_is_found_by_who_action_outcome_and_time(site: Site) -> None:
    ada, boss = site.signed_in("ada"), site.signed_in("boss", "ADMIN")
    accounts.add(site.api.conn, "new@example.org", username="new")
    ada.post("/do/create_key", {"once": "x", "hours": "1"})
    ada.post("/do/create_user", {"once": "x", "email": "evil@example.org"})

    refused = boss.get("/audit?who=ada@example.org&status=FAILURE").text
    made = boss.get("/audit?action=KEY_CREATED").text
    later = boss.get("/audit?since=2999-01-01T00:00Z").text

    assert "user created" in refused
    assert "key created" not in refused
    assert "key created" in made
    assert "user created" not in made
    assert "Nothing fits this filter" in later


def test_it_is_turned_by_pages_under_its_filter(site: Site) -> None:
    boss = site.signed_in("boss", "ADMIN")
    for number in range(3):
        accounts.add(site.api.conn, f"p{number}@example.org", username=f"p{number}")

    page = boss.get("/audit?action=USER_CREATED&limit=2").text

    assert "action=USER_CREATED" in page
    assert 'rel="next"' in page


def test_what_others_have_written_is_text(site: Site) -> None:
    boss = site.signed_in("boss", "ADMIN")
    site.api.conn.execute(
        "insert into autoscaler.audit_logs"
        " (user_email, action, category, resource_type, resource_id, resource_name, status)"
        " values ('<i>eve</i>', 'NODE_CREATED', 'NODE', 'node', 'javascript:alert(1)', '<b>bold</b>', 'SUCCESS')"
    )

    page = boss.get("/audit").text

    assert "<b>bold</b>" not in page
    assert "<i>eve</i>" not in page
    assert 'href="javascript:' not in page


@pytest.mark.parametrize("role", ["USER", "DEVOPS"])
def test_it_is_for_administrators(site: Site, role: str) -> None:
    somebody = site.signed_in("ada", role)

    assert somebody.get("/audit").status_code == 403
    assert "Who has the role ADMIN may." in somebody.get("/audit").text
    assert 'href="/audit"' not in somebody.get("/").text
