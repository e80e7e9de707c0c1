"""What changes an amount after it is priced: discounts, commitments, prepaid balances."""
