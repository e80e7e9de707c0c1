"""A process that dies between sending and recording: the message is sent again, as the same."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.business.automation.conftest import Post, Receiver

CHILD = Path(__file__).with_name("deliver_child.py")


@pytest.mark.parametrize("moment", ["sent", "recorded"])
def test_what_was_sent_and_not_recorded_is_sent_again_under_its_id(
    post: Post, receiver: Receiver, moment: str
) -> None:
    post.subscribe(receiver.url)
    post.tell("17")
    child = [sys.executable, str(CHILD), post.database.url, moment]
    assert subprocess.run(child, check=False, timeout=60).returncode == -signal.SIGKILL
    assert len(receiver.received) == 1
    # PostgreSQL lets go of the dead process's lock as soon as it notices: waits for that.
    assert post.rows("SELECT state FROM delivery FOR UPDATE") == [("pending",)]
    assert len(post.courier.deliver_due()) == 1
    assert len(receiver.received) == 2
    assert len(set(receiver.ids())) == 1
    assert post.deliveries() == [("delivered", 1, 204, None)]
