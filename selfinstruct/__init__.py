"""Generate instruction-tuning data with Self-Instruct recipes."""

__version__ = "0.1.0"
