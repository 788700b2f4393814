"""Short measurements of exports: these tests are about what an export contains and computes."""

from collections.abc import Iterator

import pytest
from tests.conftest import short_measurements


@pytest.fixture(scope="package", autouse=True)
def short_measurements_of_exports() -> Iterator[None]:
    with short_measurements():
        yield
