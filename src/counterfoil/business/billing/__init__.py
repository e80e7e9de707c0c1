"""From what is due to rated charges, invoices and their counterfoils."""
