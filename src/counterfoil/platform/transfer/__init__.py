"""Records of any entity in and out of table files: CSV and XLSX."""
