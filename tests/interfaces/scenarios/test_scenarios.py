"""Every scenario file of ``tests/scenarios`` plays as it expects, to the cent."""

from pathlib import Path

import pytest

from counterfoil.bootstrap import scratch_organisation
from counterfoil.interfaces.scenarios.notation import read_scenario
from counterfoil.interfaces.scenarios.play import SimulatedClock, play_scenario

FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_plays_as_expected(path, server):
    scenario, problems = read_scenario(path)
    assert problems == []
    clock = SimulatedClock()
    with scratch_organisation(server, clock) as organisation:
        outcome = play_scenario(scenario, organisation, clock)
    assert [str(difference) for difference in outcome.differences] == []
