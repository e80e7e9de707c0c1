"""What makes the data model customizable: declarations, records and the engine."""
