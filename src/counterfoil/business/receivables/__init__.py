"""What accounts owe: payments, allocations, refunds, write-offs, balances, statements, ageing."""
