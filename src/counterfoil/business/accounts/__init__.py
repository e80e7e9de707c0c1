"""Who we sell to: the tree of accounts, their sites, contacts and billing profiles."""
