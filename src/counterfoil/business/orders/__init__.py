"""Orders: what customers ask for, provisioned line by line until it is a subscription or change."""
