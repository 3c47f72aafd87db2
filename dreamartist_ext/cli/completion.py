"""`dreamartist completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import get_completion_class

from .help import REQUIRED, command
from .output import put

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion bash >> ~/.bashrc",
    "completion zsh >> ~/.zshrc",
    "completion fish > ~/.config/fish/completions/dreamartist.fish",
)
@click.argument("shell", type=click.Choice(SHELLS), panel=REQUIRED, help="The shell it is for.")
def completion(shell: str) -> None:
    """Print a script that completes commands, options and files with the Tab key."""
    from .commands import COMPLETE, PROGRAM, dreamartist

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    script = kind(dreamartist, {}, PROGRAM, COMPLETE)
    put(script.source_template % script.source_vars())
