"""The formula language: text that an analyst writes, checked when saved, run by the engine."""
