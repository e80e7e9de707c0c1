"""The examples of docs/rest.md work, in their order, and answer what is written below them."""

import argparse
import json
import re
import shlex
from pathlib import Path

import httpx
import pytest

PAGE = Path(__file__).parents[3] / "docs" / "rest.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(PAGE.read_text(encoding="utf-8"))


def run_curl(command: str, url: str, token: str) -> httpx.Response:
    """Send what a curl command of the page would send."""
    text = command.replace("\\\n", " ").replace("$URL", url).replace("$TOKEN", token)
    reader = argparse.ArgumentParser()
    reader.add_argument("program", choices=["curl"])
    reader.add_argument("url")
    reader.add_argument("-X", dest="method", default="GET")
    reader.add_argument("-H", dest="headers", action="append", default=[])
    reader.add_argument("-d", "--data-binary", dest="body", default="")
    given = reader.parse_args(shlex.split(text))
    headers = dict(header.split(": ", 1) for header in given.headers)
    return httpx.request(
        given.method, given.url, headers=headers, content=given.body.encode(), timeout=60
    )


def holds(expected: object, answered: object) -> bool:
    """Whether the answer has all that is expected; records may have more fields."""
    if isinstance(expected, dict) and isinstance(answered, dict):
        return all(
            name in answered and holds(value, answered[name]) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(answered, list):
        return len(expected) == len(answered) and all(map(holds, expected, answered))
    return expected == answered


def test_the_examples_of_the_page_work(served) -> None:  # type: ignore[no-untyped-def]
    commands = 0
    response: httpx.Response | None = None
    for language, text in BLOCKS:
        if language == "sh":
            response = run_curl(text, served.url + "/api/v1", "correct horse battery staple")
            assert response.is_success, f"{text}\n{response.text}"
            commands += 1
        if language == "json":
            assert response is not None
            assert holds(json.loads(text), response.json()), f"{text}\n{response.text}"
    assert commands > 10


@pytest.mark.parametrize("path", ["entities", "paths"])
def test_the_page_names_what_there_is(served, api: httpx.Client, path: str) -> None:  # type: ignore[no-untyped-def]
    page = PAGE.read_text(encoding="utf-8")
    catalogue = served.organisation.database.catalogue
    collections = {entity.plural.replace("_", "-") for entity in catalogue.entities.values()}
    if path == "entities":
        assert {name for name in collections if f"`{name}`" not in page} == set()
        return
    paths = [p.removeprefix("/api/v1") for p in api.get("/openapi.json").json()["paths"]]
    stems = {p.split("/{")[0] for p in paths if p.strip("/").split("/")[0] not in collections}
    assert {stem for stem in stems if stem not in page} == set()
