"""d4-exporter: takes records from an analyzer queue and gives them to something else, at least once."""
