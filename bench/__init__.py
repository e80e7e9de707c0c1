"""Measurements on generated, deterministic data, as ratios within one run: ``make bench``."""
