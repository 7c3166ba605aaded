"""Settings of the whole suite."""

from __future__ import annotations

import torch
from hypothesis import settings

from tests.support.examples import QUICK, register_profiles

register_profiles()
settings.load_profile(QUICK)

torch.set_num_threads(1)  # beside another busy process a step of two threads on two cores takes 50 times as long
