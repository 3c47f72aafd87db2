"""python -m dreamartist_ext, installed as `dreamartist`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C at any moment, also while torch is loading, ends it in one sentence."""
    try:
        from .cli.commands import dreamartist

        dreamartist(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(_refused("stopped."))
    except Exception as error:
        import click

        from .engine.errors import DreamArtistError

        if isinstance(error, click.ClickException):
            error.show()
            sys.exit(2)
        if isinstance(error, click.Abort):
            sys.exit(_refused("stopped."))
        if isinstance(error, DreamArtistError):
            sys.exit(_refused(str(error)))
        raise


def _refused(sentence: str) -> int:
    sys.stderr.write(f"dreamartist: {sentence}\n")
    return 2


if __name__ == "__main__":
    main()
