"""What is to be sold: leads, opportunities, quotes with their prices, until it is an order."""
