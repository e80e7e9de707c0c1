"""Invoices as PDF, CSV and JSON, rendered from the invoice's own snapshot."""
