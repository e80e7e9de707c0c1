"""Bulk extracts: what was asked for at one time, and read at another."""
