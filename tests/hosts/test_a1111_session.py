"""What a session takes off the WebUI's model, and puts back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dreamartist_ext.hosts.a1111_session import own_forwards


def test_a_forward_put_on_a_single_module_is_away_inside_and_back_after_an_error():
    part = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    other = torch.zeros_like
    part[1].forward = other
    with pytest.raises(RuntimeError, match="inside"), own_forwards(part):
        assert part(torch.ones(1, 2)).any()
        raise RuntimeError("inside")
    assert part[1].forward is other
    assert not part(torch.ones(1, 2)).any()
    assert "forward" not in vars(part[0])
