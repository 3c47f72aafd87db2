"""python -m dreamartist_ext, installed as `dreamartist`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, and exit with its status; whatever happens, at any moment, ends in one sentence."""
    try:
        from .cli.output import safe_streams

        safe_streams()
        status = _run()
        _forget_ctrl_c()
        sys.exit(status)
    except KeyboardInterrupt:  # also while something is loading
        sys.stderr.write("dreamartist: stopped.\n")
        _forget_ctrl_c()
        sys.exit(130)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich", "rich_click"):
            raise
        sys.stderr.write(f'dreamartist: this needs {error.name}: pip install "dreamartist[standalone]".\n')
        sys.exit(1)


def _forget_ctrl_c() -> None:
    """Without this a Ctrl-C that came inside code which a library hands to Python from C, as some do while they are
    imported, makes Python end itself by that signal, though it was dealt with. Any text that is run makes it forget."""
    exec("")


def _run() -> int:
    """The status to exit with."""
    from .cli.commands import COMPLETE, PROGRAM, dreamartist

    try:
        status = dreamartist(prog_name=PROGRAM, complete_var=COMPLETE, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        from .cli.failures import told

        return told(error)
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()
