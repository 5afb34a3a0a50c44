"""The command line: arguments → config → one call. No logic beyond printing lives here."""

from selfinstruct.cli import chatting, cleaning, making, moving, training, viewing
from selfinstruct.cli.frame import app

__all__ = ["app", "chatting", "cleaning", "making", "moving", "training", "viewing"]
