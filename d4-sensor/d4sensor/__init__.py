"""d4-sensor: watches the wire, names the packets that trails name, and ships what it saw."""
