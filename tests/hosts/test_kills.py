"""Kills at random moments of trainings on the embedded model: a resume ends with the bytes of a run without a kill."""

from __future__ import annotations

import random
import time

import pytest

from ..files.test_never_lose_work import kill_at_random_moments

SHORT = {
    "steps": 6,
    "save_every": 2,
    "check_every": 3,
    "ema": 0.9,
    "save_ema": True,
    "mirror": True,
    "latent_sampling": "each",
    "width": 64,
    "height": 64,
}


@pytest.mark.slow
def test_fifty_kills_of_trainings_on_the_model(tmp_path):
    from .loaded_model import trained_on_the_model

    began = time.process_time()
    seed = random.randrange(10**6)
    hits = kill_at_random_moments(tmp_path, 50, seed, trained_on_the_model, SHORT, trained_on_the_model.__module__)
    print(f"{hits} of 50 kills hit a training under way; all 50 ended with the same bytes")
    print(f"{time.process_time() - began:.0f} s of computing here, beside that of the killed")
    assert hits > 25
