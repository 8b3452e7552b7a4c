"""Hypothesis strategies for the Scenes world: prompts, and what generators make of them."""

import numpy as np
from hypothesis import strategies as st

from lit_listener.data.scenes import KINDS, Slips, attempt, random_prompt

OFTEN = Slips(count=0.5, colour=0.4, form=0.5, swap=0.5, relation=0.5, spelling=0.6, faded=0.5)

seeds = st.integers(0, 2**32 - 1)


@st.composite
def prompts(draw, kinds=KINDS):
    return random_prompt(draw(st.sampled_from(kinds)), np.random.default_rng(draw(seeds)))


@st.composite
def attempts(draw, kinds=KINDS):
    """(wanted, drawn)"""
    wanted = draw(prompts(kinds))
    return wanted, attempt(wanted, OFTEN, np.random.default_rng(draw(seeds)))
