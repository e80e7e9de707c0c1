"""The unmodified client library ``billingplatform``, signed in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from billingplatform import BillingPlatform
from tests.interfaces.conftest import PASSWORD_OF_OTHERS, Place, make_user


@pytest.fixture
def client(place: Place) -> Iterator[BillingPlatform]:
    """A client of the administrator; the organisation's name stands in its address."""
    made = BillingPlatform(
        base_url=f"{place.url}/acme",
        username="admin",
        password=place.password,
        logout_at_exit=False,
    )
    yield made
    made.session.close()


def sign_in_as(
    place: Place, name: str, grants: Mapping[str, Sequence[str]], **restrictions: Any
) -> BillingPlatform:
    """A client of a new user with one role."""
    make_user(place, name, grants, **restrictions)
    return BillingPlatform(place.url, name, PASSWORD_OF_OTHERS, logout_at_exit=False)
