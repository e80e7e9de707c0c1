"""An engine that may not touch any file."""

from collections.abc import Iterator

import pytest

from counterfoil.platform.engine.duck import Engine, open_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(threads=1) as opened:
        opened.run("SET enable_external_access = false")
        opened.run("SET lock_configuration = true")
        yield opened
