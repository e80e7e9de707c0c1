"""The examples of docs/soap.md and docs/billingplatform.md work; the mapping is told in full."""

import re
from pathlib import Path

import pytest
from tests.interfaces.conftest import Place

from counterfoil.interfaces.brm.entities import ENTITIES
from counterfoil.interfaces.soap.operations import OPERATIONS

DOCS = Path(__file__).parents[2] / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["soap.md", "billingplatform.md"])
def test_the_examples_of_the_page_work(place: Place, name: str) -> None:
    known: dict[str, object] = {"URL": place.url, "USERNAME": "admin", "PASSWORD": place.password}
    examples = PYTHON.findall((DOCS / name).read_text(encoding="utf-8"))
    assert examples
    for text in examples:
        exec(compile(text, name, "exec"), known)


def test_every_operation_is_told() -> None:
    page = (DOCS / "soap.md").read_text(encoding="utf-8")
    assert [name for name in OPERATIONS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("mapped", ENTITIES, ids=lambda mapped: str(mapped.name))
def test_every_mapped_field_is_told(mapped) -> None:  # type: ignore[no-untyped-def]
    page = (DOCS / "billingplatform.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {mapped.name} |"))
    words = set(re.findall(r"\w+", row))
    named = {one.name for one in mapped.fields} | set(mapped.constant) | set(mapped.ignored)
    assert named | set(mapped.asked) <= words
