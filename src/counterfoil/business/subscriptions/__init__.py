"""The running agreements: subscriptions and their charges through time."""
