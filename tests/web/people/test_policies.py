from worlds.web.site import Site

NEW = {"path.limit": "gpus", "most": "4", "user": "ada", "gpu_type": "h100", "reason": "a small team"}


def kept(site: Site) -> list[tuple[object, ...]]:
    query = "select applies_to, subject, gpu_type, most, set_by from public.policies where limit_name = 'gpus'"
    return site.api.conn.execute(query).fetchall()


def test_an_operator_sets_a_policy_and_removes_it(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    put = ops.press(ops.get("/policies"), "/do/put_policy", **NEW)
    after, page = kept(site), ops.get("/policies")
    removed = ops.post(
        "/do/remove_policy", {"path.limit": "gpus", "user": "ada", "gpu_type": "h100", "once": "x", "back": "/policies"}
    )

    assert put.status_code == 303, put.text
    assert after == [("user", "ada", "h100", 4.0, "ops")]
    assert "user ada" in page.text
    assert removed.status_code == 303
    assert kept(site) == []
    assert ("POLICY_SET", "a small team") in site.api.audited("action", "description")


def test_what_applies_to_somebody_is_asked_for_by_name(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")
    ops.press(ops.get("/policies"), "/do/put_policy", **NEW)

    page = ops.get("/policies?user_id=ada").text

    assert "What applies to ada" in page
    assert "0 of 4" in page


def test_to_a_user_it_is_no_page_and_no_deed(site: Site) -> None:
    ada = site.signed_in("ada")

    answer = ada.post("/do/put_policy", {**NEW, "once": "x"})

    assert (answer.status_code, ada.get("/policies").status_code) == (403, 403)
    assert kept(site) == []
