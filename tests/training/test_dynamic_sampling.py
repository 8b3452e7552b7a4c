"""Dynamic sampling in a training: it learns from the groups that teach something, as if these had been the batch."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_listener.training import DynamicSampling
from lit_listener.training.grpo_options import Objective, Updates
from lit_listener.training.rollout_state import Unfinished
from lit_listener.training.stopping import StopRequested
from tests.training.several_ranks import KeepsGradients
from tests.training.tiny_runs import BabblingGRPO, data, grpo, trainer


class Flat(KeepsGradients, BabblingGRPO):
    """Some prompts' groups are rewarded alike: those at these places of the batch."""

    flat: tuple[int, ...] = ()

    def ask(self, shown: Any, keys: Any) -> Any:
        self.unlucky = {keys[place] for place in self.flat}
        self.asked = super().ask(shown, keys)
        return self.asked

    def reward(self, asked: Any, *others: Any) -> Any:
        rewards = super().reward(asked, *others)
        same_N = torch.tensor([key in self.unlucky for key in asked.keys for _ in range(self.group_size)])
        return replace(
            rewards,
            terms_NK=rewards.terms_NK.masked_fill(same_N[:, None], 1.0),
            total_N=rewards.total_N.masked_fill(same_N, 1.0),
        )


def flat(places: tuple[int, ...], **options: Any) -> Any:
    module = grpo(Flat, **options)
    module.flat = places
    return module


def train(module: Any, folder: Any, steps: int = 1, batch_size: int = 6) -> dict[str, float]:
    run = trainer(folder, steps)
    run.fit(module, data(12, batch_size=batch_size))
    return {name: float(value) for name, value in run.logged_metrics.items()}


@pytest.mark.parametrize("normalizer", ["sequence", "token"])
def test_its_gradient_is_that_of_the_groups_that_teach(tmp_path, normalizer):
    """Flat groups add nothing to a first step's gradient, only to what it is divided by."""
    options = {"objective": Objective(normalizer=normalizer)}
    found = flat((0, 2, 3, 4), groups=DynamicSampling(2), **options)
    logged = train(found, tmp_path / "found")
    every = flat((0, 2, 3, 4), **options)
    train(every, tmp_path / "every")
    lengths_PG = every.trail.completions.lengths_N.view(6, 3)
    # of 6 groups those at 1 and 5 teach: 6 groups of three sequences against 2, or all tokens against theirs
    share = {"sequence": 2 / 6, "token": float(lengths_PG[[1, 5]].sum() / lengths_PG.sum())}[normalizer]
    for name, gradient in every.kept[0].items():
        torch.testing.assert_close(found.kept[0][name] * share, gradient, atol=1e-6, rtol=0, msg=name)
    assert max(float(gradient.abs().max()) for gradient in found.kept[0].values()) > 1e-3
    assert (logged["group/rounds"], logged["group/informative_share"]) == (3, 1)


def test_what_is_measured_is_all_that_was_sampled(tmp_path):
    module = flat((0, 1, 2), groups=DynamicSampling(2))
    logged = train(module, tmp_path)
    # two rounds: 0 and 1 are flat, and so is 2; the fourth teaches: one more round, and 3 and 4 are learnt from
    assert logged["group/rounds"] == 3
    assert logged["group/zero_variance_share"] == pytest.approx(3 / 6)
    assert logged["group/informative_share"] == 1
    assert len(module.trail.transcripts) == len(module.trail.shown) * 3 == 18
    learnt = module.trail.advantages_N.view(6, 3).abs().sum(1) > 0
    assert learnt.tolist() == [False, False, False, True, True, False]


def test_a_batch_that_is_used_up_says_how_much_of_it_taught(tmp_path):
    logged = train(flat((0, 1, 2, 3, 5), groups=DynamicSampling(2)), tmp_path)
    assert (logged["group/rounds"], logged["group/informative_share"]) == (3, 0.5)
    logged = train(flat((0, 1, 2, 3, 4, 5), groups=DynamicSampling(2)), tmp_path)
    assert (logged["group/rounds"], logged["group/informative_share"]) == (3, 0.0)
    assert logged["policy/loss"] == pytest.approx(0.0, abs=1e-6)


def test_rollouts_do_not_depend_on_the_rounds(tmp_path):
    """A completion's stream is its own: the second round samples what one rollout of all would."""
    every, found = flat(()), flat((0, 1), groups=DynamicSampling(2))
    train(every, tmp_path / "every")
    train(found, tmp_path / "found")
    whole, part = every.trail.completions, found.trail.completions
    assert len(part) == 12
    for ours, theirs in zip(part.content_ids(), whole.content_ids(), strict=False):
        assert ours == theirs


def test_minibatches_are_dealt_out_of_the_groups_that_are_learnt_from(tmp_path):
    module = flat((0, 3), groups=DynamicSampling(2), updates=Updates(1, 2))
    run = trainer(tmp_path, 2)
    run.fit(module, data(12, batch_size=6))
    assert len(module.kept) == 2
    with pytest.raises(ValueError, match=r"model.updates.minibatches: 3 optimizer steps .* got a batch of 2"):
        train(flat((), groups=DynamicSampling(2), updates=Updates(1, 3)), tmp_path)


def test_the_options_must_fit_the_batch(tmp_path):
    message = r"model.groups.prompts: 4 groups a step must .* data.batch_size, of which 6 candidates came"
    with pytest.raises(ValueError, match=message):
        train(flat((), groups=DynamicSampling(4)), tmp_path)


def test_an_unfinished_rollout_is_taken_up_with_the_groups_that_it_had(tmp_path):
    options: dict[str, Any] = {"groups": DynamicSampling(2), "updates": Updates(2, 2)}
    whole = flat((0, 2), **options)
    whole_logged = train(whole, tmp_path / "whole", steps=4)
    stopped = flat((0, 2), **options)
    clip = stopped.clip_to_norm

    def asking() -> Any:
        stopped.stop_requested = True
        return clip()

    stopped.clip_to_norm = asking
    with pytest.raises((SystemExit, StopRequested)):
        train(stopped, tmp_path / "stopped", steps=4)
    torch.save(stopped.unfinished.state_dict(), tmp_path / "state.pt")
    module = flat((0, 2), **options)
    module.configure_model()
    module.load_state_dict(stopped.state_dict(), strict=False)
    module.unfinished = Unfinished.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    sampled: list[int] = []
    module.roll_out = lambda *args: sampled.append(1)
    logged = train(module, tmp_path / "resumed", steps=3)
    assert sampled == []
    for name, parameter in whole.named_parameters():
        assert torch.equal(dict(module.named_parameters())[name], parameter), name
    for name in whole_logged:
        if not name.startswith(("time/", "throughput/")):
            assert logged[name] == whole_logged[name], name
