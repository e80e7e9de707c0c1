"""Counterfoil: order-to-cash software in which every amount on an invoice can explain itself."""

__version__ = "0.1.0"
