"""Watchers hear of every subscription that got usage, soon, in order, and again after a crash."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock

import pytest
from tests.business.usage.conftest import NOW, Bridge

from counterfoil.business.usage import watching
from counterfoil.business.usage.compaction import GRACE, compact
from counterfoil.business.usage.store import UsageStore
from counterfoil.business.usage.watching import UsageWatcher, watch_usage, watch_usage_by_all
from counterfoil.platform.records.database import Database

CHILD = Path(__file__).with_name("watch_child.py")
ACME, BOLT = 1, 2


class Watch:
    """A watcher that notes what it is shown."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.seen: list[list[int]] = []
        self.watcher = UsageWatcher("thresholds", self.look)

    def look(self, _d: Database, _s: UsageStore, ids: Sequence[int], _now: datetime) -> None:
        self.seen.append(list(ids))

    def go(self) -> int:
        return watch_usage(self.bridge.database, self.bridge.store, self.watcher, now=NOW)


@pytest.fixture
def watch(bridge: Bridge) -> Watch:
    return Watch(bridge)


def use(bridge: Bridge, number: int, account: str = "4711") -> None:
    """One call of an account's subscriber, in a file of its own."""
    access = "dial_out" if account == "4711" else "toll"
    row = bridge.call(number, bridge_account=account, access=access)
    assert bridge.load(bridge.file(row, name=f"{number}.csv")).accepted == 1


def test_a_watcher_is_shown_each_subscription_once_for_what_is_new(watch: Watch) -> None:
    assert watch.go() == 0
    use(watch.bridge, 1)
    use(watch.bridge, 2)
    use(watch.bridge, 3, "0815")
    assert watch.go() == 2
    assert watch.go() == 0
    use(watch.bridge, 4, "0815")
    watch.go()
    assert watch.seen == [[ACME, BOLT], [BOLT]]


def test_a_repeated_file_is_nothing_new_and_compaction_neither(watch: Watch) -> None:
    use(watch.bridge, 1)
    watch.go()
    watch.bridge.load(watch.bridge.folder / "1.csv")
    assert compact(watch.bridge.database, watch.bridge.store, now=NOW).events == 1
    assert watch.go() == 0
    use(watch.bridge, 2, "0815")
    assert watch.go() == 1
    assert watch.seen == [[ACME], [BOLT]]


def test_what_was_compacted_before_it_was_watched_is_still_shown(watch: Watch) -> None:
    use(watch.bridge, 1)
    watch.go()
    use(watch.bridge, 2, "0815")
    compact(watch.bridge.database, watch.bridge.store, now=NOW)
    assert watch.go() == 1
    assert watch.seen == [[ACME], [BOLT]]


def test_usage_whose_segments_are_gone_is_still_shown(watch: Watch) -> None:
    bridge = watch.bridge
    use(bridge, 1)
    watch.go()
    use(bridge, 2, "0815")
    compact(bridge.database, bridge.store, now=NOW)
    later = NOW + GRACE + timedelta(minutes=1)
    assert compact(bridge.database, bridge.store, now=later).files_deleted == 2
    assert list((bridge.store.folder / "fresh").iterdir()) == []
    # Compacted files hold older usage, too: it is shown again rather than lost.
    assert watch.go() >= 1
    assert BOLT in watch.seen[1]
    assert watch.go() == 0
    use(bridge, 3)
    watch.go()
    assert watch.seen[2:] == [[ACME]], "from now on only what is new"


def test_a_new_watcher_is_shown_all_there_is(watch: Watch) -> None:
    use(watch.bridge, 1)
    use(watch.bridge, 2, "0815")
    compact(watch.bridge.database, watch.bridge.store, now=NOW)
    compact(watch.bridge.database, watch.bridge.store, now=NOW + 2 * GRACE)
    watch.go()
    assert watch.seen == [[ACME, BOLT]]


def test_many_subscriptions_are_shown_in_parts(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_AT_ONCE", 1)
    use(watch.bridge, 1)
    use(watch.bridge, 2, "0815")
    assert watch.go() == 2
    assert watch.seen == [[ACME], [BOLT]]


def test_a_watcher_that_fails_is_shown_the_same_again_and_stops_no_other(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = watch.bridge
    failing = [True]

    def look(*_arguments: object) -> None:
        if failing:
            failing.pop()
            raise ArithmeticError
        watch.seen.append([])

    both = (UsageWatcher("failing", look), watch.watcher)
    use(bridge, 1)
    watch_usage_by_all(bridge.database, bridge.store, both, now=NOW)
    assert watch.seen == [[ACME]]
    assert "the usage watcher failing failed" in caplog.text
    watch_usage_by_all(bridge.database, bridge.store, both, now=NOW)
    assert watch.seen == [[ACME], []]


def test_processes_at_once_show_each_part_once(watch: Watch) -> None:
    use(watch.bridge, 1)
    others_are_done, looking = Event(), Lock()

    def look(*_arguments: object) -> None:
        assert looking.acquire(blocking=False), "two look at the same time"
        assert others_are_done.wait(30)
        looking.release()

    database, store = watch.bridge.database, watch.bridge.store
    watcher = UsageWatcher("slow", look)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(watch_usage, database, store, watcher, now=NOW) for _ in range(4)]
        ended = as_completed(found)
        assert [next(ended).result() for _ in range(3)] == [0, 0, 0]
        others_are_done.set()
        assert next(ended).result() == 1


def test_after_a_kill_the_same_is_shown_again(watch: Watch) -> None:
    bridge = watch.bridge
    use(bridge, 1)
    child = [sys.executable, str(CHILD), bridge.database.url, str(bridge.store.folder)]
    died = subprocess.run(child, check=False, timeout=60, capture_output=True, text=True)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "[1]\n")
    with bridge.database.transaction(now=NOW) as uow:
        # Waits until PostgreSQL has noticed that the process is dead.
        assert uow.query("SELECT last_segment FROM usage_cursor FOR UPDATE") == [
            {"last_segment": 0}
        ]
    assert watch.go() == 1
    assert watch.seen == [[ACME]]
