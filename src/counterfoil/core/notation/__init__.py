"""Files that people write: YAML read by declared rules, every problem with its line."""
