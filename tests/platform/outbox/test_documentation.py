"""The page about webhooks names every event type, and no other."""

import re
from pathlib import Path

from counterfoil.bootstrap import EVENT_TYPES

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"


def test_the_page_names_the_event_types_there_are():
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| `.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == [one.name for one in EVENT_TYPES]
    for (_, when), one in zip(rows, EVENT_TYPES, strict=True):
        assert when == one.help[0].lower() + one.help[1:].rstrip(".")
