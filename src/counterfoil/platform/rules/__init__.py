"""The customer's rules: carried out when records are written."""
