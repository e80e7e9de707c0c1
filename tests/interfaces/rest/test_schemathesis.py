"""Requests made from the OpenAPI description: whatever is sent, no server error and no surprise.

The same requests every time: they follow from the description and a fixed seed.
"""

from collections.abc import Collection

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.interfaces.rest.conftest import TOKEN, Served

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]

FEW = {"accounts", "sites", "invoices", "webhooks", "describe", "model"}


def send_generated(
    served: Served, api: httpx.Client, mode: GenerationMode, examples: int, only: Collection[str]
) -> int:
    """Send requests to every operation of these collections (all when none); how many."""
    document = api.get("/openapi.json").json()
    document["paths"] = {
        path: operations
        for path, operations in document["paths"].items()
        if not only or path.split("/")[3] in only
    }
    sent = 0
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()

        @hypothesis.seed(7)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case) -> None:
            nonlocal sent
            sent += 1
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = case.call(base_url=served.url, headers=headers)
            case.validate_response(answer, checks=CHECKS)

        try:
            send()
        except hypothesis.errors.Unsatisfiable:
            # Nothing wrong can be said where nothing can be said at all.
            assert mode is GenerationMode.NEGATIVE
    return sent


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_some_collections_answer_whatever_is_sent(
    served: Served, api: httpx.Client, mode: GenerationMode
):
    assert send_generated(served, api, mode, 2, FEW) > 60


@pytest.mark.slow
def test_everything_answers_whatever_is_sent(served: Served, api: httpx.Client):
    assert send_generated(served, api, GenerationMode.POSITIVE, 1, ()) > 400
