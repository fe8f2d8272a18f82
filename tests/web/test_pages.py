import pytest

from pgfleet.console.web.found import pages
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Role, Whose
from worlds.web.site import Site

PLAIN = [page for page in pages() if "{" not in page.path]
PEOPLE = (Role.USER, Role.DEVOPS, Role.ADMIN)


@pytest.mark.parametrize("role", PEOPLE, ids=lambda role: role.value)
def test_each_page_is_for_the_roles_of_its_permission_and_for_no_other(site: Site, role: Role) -> None:
    browser = site.signed_in("ada", role.value)

    statuses = {page.path: browser.get(page.path).status_code for page in PLAIN}

    expected = {page.path: 200 if whose(page.permission, role) != Whose.NOBODYS else 403 for page in PLAIN}
    assert statuses == expected
