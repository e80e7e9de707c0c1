"""Exact money: currencies, rounding at named steps, allocation that adds up."""
