"""Files between the oldest torch that is supported, in the WebUI's own Python, and the one that runs these tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from testbed.webui import ROOT, WEBUI

from . import older_torch

pytestmark = pytest.mark.webui


@pytest.fixture(scope="module")
def there():
    """Runs older_torch.py in the WebUI's Python."""
    python = Path(os.environ.get("WEBUI_PYTHON", WEBUI / "venv" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no WebUI at {WEBUI}; set WEBUI_DIR to the folder of AUTOMATIC1111 v1.10.1")

    def run(task, folder):
        command = [str(python), older_torch.__file__, task, str(folder)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        assert (answer["torch"].startswith("2.1."), torch.__version__.startswith("2.1.")) == (True, False)
        return answer["problems"]

    return run


def test_what_the_oldest_torch_writes_todays_reads_to_the_bit(there, tmp_path):
    there("write", tmp_path)
    assert older_torch.problems(tmp_path) == []


def test_what_todays_torch_writes_the_oldest_reads_to_the_bit(there, tmp_path):
    older_torch.write(tmp_path)
    assert there("read", tmp_path) == []


def test_both_write_the_same_bytes(there, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    older_torch.write(tmp_path / "here")
    there("write", tmp_path / "there")
    for family, suffix in older_torch.FILES:
        for half in ("cat", "cat-neg"):
            here, other = (tmp_path / where / f"{family}{suffix}" / f"{half}{suffix}" for where in ("here", "there"))
            assert here.read_bytes() == other.read_bytes(), (family, half)
