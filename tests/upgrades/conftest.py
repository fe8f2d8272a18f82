"""The next version of the program, made once for all tests of upgrades."""

import pytest

from upgrades.versions import Version, next_version


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return next_version(tmp_path_factory.mktemp("versions"))
