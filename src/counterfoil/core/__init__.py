"""Computation only: no database, network, clock, file or template below this line."""
