"""maltrail-collector: events come in by UDP, are kept in a log per day, and are shown on a page."""
