from worlds import rows_of_disks as rows
from worlds.outside.hopsworks import person
from worlds.outside.usage import set_clock
from worlds.web.site import Site


def used(site: Site) -> None:
    """Ada and bob ran two h100 for three hours on the 9th, and have Hopsworks accounts; the 20th is now."""
    conn = site.api.conn
    for user in ("ada", "bob"):
        set_clock(conn, "2026-11-09 10:00")
        row_id = rows.reservation(conn, "active", None, user_id=user, launched_at="2026-11-09 10:00+00")
        set_clock(conn, "2026-11-09 13:00")
        conn.execute("update public.reservations set status = 'expired' where reservation_id = %s", (row_id,))
        person(conn, user, email=f"{user}@hops.example.org")
        conn.execute(
            "insert into hopsworks.usage_daily (user_id, date, seat_days, total_cost)"
            " values (%s, '2026-11-09', 1, 12.5)",
            (user,),
        )
    conn.execute("insert into hopsworks.user_credits (user_id, total_purchased, total_used) values ('ada', 5, 12.5)")
    set_clock(conn, "2026-11-20 00:00")


def test_an_operator_sees_everybodys_by_day_type_and_user(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")
    used(site)

    page = ops.get("/usage?month=2026-11").text

    assert "Mon 09 Nov: 12 GPU hours (h100 12)" in page
    assert "user_id=ada" in page
    assert "bob@hops.example.org" in page
    assert "<strong>7.50" in page
    assert "October" in page


def test_a_user_sees_their_own_only(site: Site) -> None:
    ada = site.signed_in("ada")
    used(site)

    page, of_one = ada.get("/usage?month=2026-11").text, ada.get("/usage/ada?month=2026-11")

    assert "Mon 09 Nov: 6 GPU hours (h100 6)" in page
    assert "bob" not in page
    assert of_one.status_code == 200
    assert "Mon 09 Nov" in of_one.text
    assert ada.get("/usage/bob?month=2026-11").status_code == 404
    assert "bob" not in ada.get("/usage?month=2026-11&user_id=bob").text.replace("user_id=bob", "")


def test_the_month_is_in_the_address_and_what_is_none_is_refused(site: Site) -> None:
    ada = site.signed_in("ada")
    used(site)

    empty = ada.get("/usage?month=2026-10").text

    assert "Usage in October 2026" in empty
    assert "No GPU was used in this month" in empty
    assert ada.get("/usage?month=soon").status_code == 400
