"""One room per capability of order-to-cash, each declaring its own entities."""
