"""`moa`, and `python -m moa`: an interruption while the command is still being loaded is one too."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from .cli.app import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
