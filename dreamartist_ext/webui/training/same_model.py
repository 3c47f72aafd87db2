"""Whether a training can go on with the model that is loaded now."""

from __future__ import annotations

from ...engine.errors import SettingError
from ...engine.snapshot import Snapshot
from ..workplace import TrainingHost


def check_model(name: str, snapshot: Snapshot, host: TrainingHost) -> None:
    """By the hash, where both have one: a file may be renamed, and two may have one name. Raises SettingError, which
    names both models."""
    learned_on, known = snapshot.about.get("model", ""), snapshot.about.get("model_hash", "")
    loaded, here = host.name, host.checkpoint_hash
    if not learned_on or (known == here if known and here else learned_on == loaded):
        return
    shown = f"{learned_on} ({known})" if known else learned_on
    loaded = f"another file of that name ({here})" if loaded == learned_on else loaded
    raise SettingError(f"the training of {name} began on {shown}, and {loaded} is loaded; load {learned_on} to go on.")
