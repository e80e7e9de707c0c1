"""Secrets and signatures by the Standard Webhooks convention."""

from datetime import UTC, datetime

import pytest

from counterfoil.business.automation.signing import read_secret, secret_of, signature_headers


def test_a_signature_is_the_one_of_the_published_example() -> None:
    # From the specification: id, timestamp, payload and secret of the reference libraries' tests.
    headers = signature_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("hunter2", "must begin with whsec_"),
        ("whsec_hunter two", "must be base64"),
        ("whsec_" + "A" * 28, "must hold 24 to 64 bytes, not 21"),
        ("whsec_" + "A" * 88, "must hold 24 to 64 bytes, not 66"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(secret: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        read_secret(secret)
    assert secret.removeprefix("whsec_") not in str(refused.value)


def test_a_secret_is_read_as_it_was_told() -> None:
    assert read_secret(secret_of(bytes(range(32)))) == bytes(range(32))
