"""What more than one daemon of the D4 chain needs, and nothing else."""

__version__ = "0.1.0"
