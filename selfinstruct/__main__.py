"""The entry point: `selfinstruct` and `python -m selfinstruct`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported is an interruption too."""
    try:
        from selfinstruct.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
