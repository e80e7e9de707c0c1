"""Processes that amend, bill, correct, pay and use the same accounts: nothing goes wrong by it.

``python -m bench --only concurrent`` does the same with sixteen of them for a minute.
"""

import pytest
from bench.contention import measure_contention

from counterfoil.bootstrap import Settings


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_many_processes_on_the_same_accounts_bill_everything_once(server: Settings) -> None:
    # It raises what it finds wrong afterwards.
    result = measure_contention(server, processes=6, seconds=8, accounts=20)

    assert result.done > 0
