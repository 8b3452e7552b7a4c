import pytest

from lit_listener.study.judgements import Judgements
from tests.study.simulating import Judge, study


@pytest.fixture(scope="package")
def as_claimed():
    """Judges of whom all of the paper's claims are true."""
    plain = Judge(held_in=0.75, held_out=0.72, contradicts=0.4, without=0.9)
    judges = {
        "start": Judge(held_in=0.55, held_out=0.55),
        "bradley_terry": Judge(held_in=0.65),
        "rating": Judge(held_out=0.52),
        "answer_sft": Judge(held_in=0.7, held_out=0.5),
        "grpo": plain,
        "grpo_listener": Judge(held_in=0.88, held_out=0.9, contradicts=0.02, without=0.5),
        "random_listener": plain,
    }
    return study(judges)


@pytest.fixture(scope="package")
def judged(as_claimed):
    return Judgements(as_claimed)


@pytest.fixture(scope="package")
def turned_round():
    """Judges of whom the opposite is true."""
    judges = {
        "start": Judge(held_in=0.9),
        "answer_sft": Judge(held_out=0.9),
        "grpo": Judge(held_in=0.75, held_out=0.75, contradicts=0.05, without=0.4, far_wrong=False),
        "grpo_listener": Judge(held_in=0.6, held_out=0.55, contradicts=0.4, without=0.95, far_wrong=False),
        "random_listener": Judge(held_out=0.8, contradicts=0.05),
    }
    return Judgements(study(judges))
