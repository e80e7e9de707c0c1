"""From a price book and quantities to rated charges, as relational statements."""
