from collections.abc import Callable

import pytest

from lit_listener.evaluation.prediction import Prediction


@pytest.fixture(scope="session")
def predict() -> Callable[..., Prediction]:
    """Make a prediction that is right, well-formed and consistent, but for what is asked otherwise."""

    def make(**changes: object) -> Prediction:
        fields: dict[str, object] = {
            "pair_id": "pair-0",
            "prompt_id": "prompt-0",
            "prompt": "three red circles",
            "rollout": 0,
            "first": "a",
            "label": 1,
            "answer": 1,
            "outcome": "ok",
            "p_second": 0.75,
            "listener_p_second": 0.625,
            "listener_p_correct": 0.625,
            "contradicts": False,
            "stated_verdict": 1,
            "length": 20,
            "truncated": False,
            "trace": "<think>the second is better</think><answer>1</answer>",
            "share_a": 0.25,
            "generator_a": "crisp",
            "generator_b": "faded",
        }
        return Prediction(**{**fields, **changes})

    return make
