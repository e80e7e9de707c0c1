"""What happens by itself when something has happened: webhooks and mail."""
