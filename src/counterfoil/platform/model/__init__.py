"""Change sets: how a customer adds to the data model while everybody works."""
