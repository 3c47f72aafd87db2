"""Pictures that wait for a training and are not wanted any more: Interrupt and Skip are meant for them, not for it.

The WebUI's modules are imported on use.
"""

from __future__ import annotations

OURS = "task(dreamartist"  # how the ids of our own tasks begin
_called_off: set[str] = set()


def call_off_waiting() -> bool:
    """Whether somebody else's task waits in the WebUI's queue that is still wanted; it is called off then."""
    from modules import progress

    waiting = {str(task) for task in progress.pending_tasks if not str(task).startswith(OURS)} - _called_off
    _called_off.update(waiting)
    return bool(waiting)


def stop_where_called_off() -> None:
    """At the start of a picture, whose turn it is now: it is interrupted where it was called off."""
    if not _called_off:
        return
    from modules import progress, shared

    task = str(getattr(progress, "current_task", None) or "")
    if task in _called_off:
        _called_off.discard(task)
        shared.state.interrupted = True
