"""A rollout kept between its updates: what a checkpoint holds of it, and what it goes on with."""

from typing import Any

import pytest
import torch

from lit_listener.training.grpo_options import RewardWeights, Updates
from lit_listener.training.rewards import Annealed
from lit_listener.training.rollout_state import Unfinished
from lit_listener.training.stopping import StopRequested
from tests.training.tiny_runs import data, grpo, trainer

UPDATES = Updates(epochs=2, minibatches=2)


@pytest.fixture
def stopped(tmp_path: Any) -> Any:
    """A module that was asked to stop during the first of a rollout's four optimizer steps."""
    module = grpo(updates=UPDATES)
    run = trainer(tmp_path, 4)
    clip = module.clip_to_norm

    def asking() -> Any:
        module.stop_requested = True
        return clip()

    module.clip_to_norm = asking
    with pytest.raises(SystemExit):
        run.fit(module, data())
    module.clip_to_norm = clip
    return module


def test_a_stop_is_heard_between_two_updates(stopped):
    assert stopped.trainer.global_step == 1
    assert stopped.unfinished.totals.steps == 1
    assert issubclass(StopRequested, KeyboardInterrupt)  # Lightning shuts down in order


def test_a_rollout_comes_back_from_a_file_as_it_was(stopped, tmp_path):
    torch.save(stopped.unfinished.state_dict(), tmp_path / "state.pt")
    back = Unfinished.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    before, after = stopped.unfinished.rolled, back.rolled
    assert (after.keys, after.places, after.rounds) == (before.keys, before.places, before.rounds)
    assert back.totals == stopped.unfinished.totals
    for name in ("reference_NT", "old_NT", "advantages_N"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name
    for record in ("completions", "outcome"):
        for name, tensor in vars(getattr(before, record)).items():
            torch.testing.assert_close(getattr(getattr(after, record), name), tensor, atol=0, rtol=0, equal_nan=True)


def test_another_number_of_processes_cannot_take_it_up(stopped):
    with pytest.raises(ValueError, match="that 2 processes shared; it goes on with as many, not with 1"):
        Unfinished.from_state_dict({**stopped.unfinished.state_dict(), "ranks": 2})


def test_other_pairs_are_refused(stopped, tmp_path):
    module = grpo(updates=UPDATES)
    module.unfinished = Unfinished.from_state_dict(stopped.unfinished.state_dict())
    module.unfinished.rolled.keys[0] = (0, 999)
    with pytest.raises(ValueError, match=r"\(0, 999\).*resume with the same data"):
        trainer(tmp_path, 4).fit(module, data())


def test_what_is_left_is_done_and_no_more(stopped, tmp_path):
    """Handed the same batch, it makes three optimizer steps on the rollout it has, and samples nothing for it."""
    module = grpo(updates=UPDATES)
    sampled: list[int] = []
    roll_out = module.roll_out
    module.roll_out = lambda *args: sampled.append(1) or roll_out(*args)
    module.unfinished = Unfinished.from_state_dict(stopped.unfinished.state_dict())
    run = trainer(tmp_path, 3)
    run.fit(module, data())
    assert run.global_step == 3
    assert sampled == []
    assert module.unfinished is None
    assert module.trail.transcripts is not None
    assert len(module.trail.rewards.total_N) == 12
    logged = {name: float(value) for name, value in run.logged_metrics.items()}
    assert logged["policy/loss"] != 0
    assert logged["completion/length"] > 1


def test_a_trail_taken_up_tells_the_weights_that_its_rollout_was_rewarded_with(stopped, monkeypatch):
    module = grpo(updates=UPDATES, reward=RewardWeights(accuracy=Annealed(0.8, 0.0, 8)))
    module.configure_model()
    module.unfinished = Unfinished.from_state_dict(stopped.unfinished.state_dict())
    monkeypatch.setattr(type(module), "global_step", property(lambda _: 5))  # one of them on this rollout
    asked = module.ask(stopped.trail.shown, stopped.unfinished.rolled.keys)
    module._taken_up(asked)
    assert module.trail.rewards.weights_K.tolist() == pytest.approx([1.0, 0.4, 0.5])  # 0.8 · (1 - 4 / 8)
