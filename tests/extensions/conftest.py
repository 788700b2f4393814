"""Short measurements of exports: these tests are about what an export contains and computes."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def short_measurements_of_exports() -> Iterator[None]:
    """Measure exports in one short round; worse figures do not fail a verification."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunefront.search.deploy.rounds.ROUNDS", 1)
        patch.setattr("tunefront.search.deploy.rounds.ROUND_S", 0.05)
        patch.setattr("tunefront.search.deploy.verify.VERIFY_S", 0.05)
        yield
