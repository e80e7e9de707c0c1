"""The outbox: what has happened, kept with the change until it is told to who listens."""
