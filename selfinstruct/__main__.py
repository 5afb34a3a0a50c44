"""The entry point: `selfinstruct` and `python -m selfinstruct`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported is an interruption too."""
    # What an ASCII terminal cannot show is replaced, not a reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from selfinstruct.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
