"""Files that records point to, kept by their content."""
