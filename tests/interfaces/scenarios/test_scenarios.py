"""Every scenario file of ``tests/scenarios`` plays as it expects, to the cent."""

from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_plays_as_expected(path, server, recordings):
    outcome = recordings.play(path, server)
    assert [str(difference) for difference in outcome.differences] == []
