"""A workplace without a WebUI: a model whose turn is a lock, and what was shown and told."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from ..models import tiny_host

SETTINGS = {
    "name": "cat",
    "template": "a [name]",
    "steps": 6,
    "save_every": 2,
    "check_every": 2,
    "learning_rate": "0.05",
    "keep": "last",
}


class FakeWorkplace:
    def __init__(self, folder, host=None):
        """host: a tiny model if left out"""
        self.embeddings = folder / "embeddings"
        self.embeddings.mkdir()
        self.defaults = {}
        self.has_cards = False
        self.templates = folder / "templates"
        self.tiny = host or tiny_host(folder)
        self.turn = threading.Lock()
        self.told, self.learnings, self.interrupt_at = [], 0, None
        self.chosen = ""

    @contextmanager
    def gpu(self, task):
        assert task.startswith("task(")
        with self.turn:
            yield

    @contextmanager
    def glance(self):
        yield None if self.turn.locked() else self.host()

    def host(self):
        return self.tiny

    def model_name(self):
        return "tiny"

    def chosen_model(self):
        return self.chosen

    def interrupted(self):
        return self.interrupt_at is not None and bool(self.told) and self.told[-1] >= self.interrupt_at

    def show(self, step, steps, text):
        self.told.append(step)

    def learned(self):
        self.learnings += 1

    def is_one_token(self, name):
        return name == "sks"

    def clash(self, name):
        return 'prompts would take "taken" for the embedding "t".' if name == "taken" else ""
