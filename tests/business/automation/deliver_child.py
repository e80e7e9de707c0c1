"""A delivery in a process of its own that kills itself when the receiver has the message.

Arguments: database URL, moment. Moments: ``sent`` (answered, nothing recorded), ``recorded``
(recorded, not committed).
"""

import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.automation import delivering
from counterfoil.business.automation.mailing import SmtpMailer
from counterfoil.business.automation.messages import Channels
from counterfoil.business.automation.posting import HttpPoster
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 2, 1, 6, 0, tzinfo=UTC)


def dying(action: Any, *, before: bool) -> Any:
    """``action`` that kills the process before or after it is done."""

    def act(*arguments: Any) -> Any:
        result = None if before else action(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    return act


def main(url: str, moment: str) -> None:
    delivering._record = dying(delivering._record, before=moment == "sent")
    channels = Channels(HttpPoster(private=True), SmtpMailer(None))
    database = Database(url, CATALOGUE, CHECKS)
    delivering.Courier(database, channels, lambda: NOW).deliver_due()


if __name__ == "__main__":
    main(*sys.argv[1:])
