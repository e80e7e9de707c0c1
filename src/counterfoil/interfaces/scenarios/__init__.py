"""Scenario files: a price book, accounts and a dated timeline, played with a simulated clock."""
