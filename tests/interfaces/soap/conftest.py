"""zeep as the peer: a client of the generic description, and one of the typed."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
import zeep
from tests.interfaces.conftest import Place
from zeep.transports import Transport


def connect(place: Place, name: str) -> zeep.Client:
    """A client that reads the description now and sends the token with every request."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {place.token}"
    return zeep.Client(f"{place.url}/soap/{name}.wsdl", transport=Transport(session=session))


@pytest.fixture(scope="module")
def generic(place: Place) -> zeep.Client:
    """A client of the generic description."""
    return connect(place, "generic")


@pytest.fixture(scope="module")
def typed(place: Place) -> zeep.Client:
    """A client of the typed description."""
    return connect(place, "typed")


Refusal = Callable[[Callable[[], object]], list[tuple[str, str | None, int | None]]]


@pytest.fixture
def refusal() -> Refusal:
    """Code, field and line of every problem in the fault that something raises."""

    def told(act: Callable[[], object]) -> list[tuple[str, str | None, int | None]]:
        with pytest.raises(zeep.exceptions.Fault) as caught:
            act()
        found: Any = caught.value.detail
        problems = []
        for problem in found[0]:
            parts = {child.tag.rpartition("}")[2]: child.text for child in problem}
            line = parts.get("line")
            problems.append((parts["code"], parts.get("field"), int(line) if line else None))
        return problems

    return told
