"""From a source's records to stored, de-duplicated usage events."""
