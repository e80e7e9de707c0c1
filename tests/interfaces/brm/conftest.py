"""The unmodified client library ``billingplatform``, signed in."""

from collections.abc import Iterator

import pytest
from billingplatform import BillingPlatform
from tests.interfaces.conftest import Place


@pytest.fixture
def client(place: Place) -> Iterator[BillingPlatform]:
    """A client with a session of its own; the organisation's name stands in its address."""
    made = BillingPlatform(
        base_url=f"{place.url}/acme",
        username="admin",
        password=place.password,
        logout_at_exit=False,
    )
    yield made
    made.session.close()
