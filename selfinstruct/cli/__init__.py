"""The command line: arguments → config → one call. No logic beyond printing lives here."""

from selfinstruct.cli import cleaning, making, moving, training, viewing
from selfinstruct.cli.frame import app

__all__ = ["app", "cleaning", "making", "moving", "training", "viewing"]
