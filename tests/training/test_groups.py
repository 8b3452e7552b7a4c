"""Dynamic sampling: how many rounds it makes, which groups it keeps, and what it makes of them. No model is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from lit_listener.objective import group_advantages
from lit_listener.tasks import Outcome, Transcript
from lit_listener.training.groups import AllGroups, DynamicSampling, Sampled
from lit_listener.training.rewards import Rewards
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard


@dataclass
class Questions:
    """Stands for what is asked: prompts by number, selected as questions are."""

    prompts: Sequence[int]

    def select(self, places: slice) -> "Questions":
        return Questions(self.prompts[places])


@dataclass
class Sampler:
    """Gives each prompt's group its rewards out of a table."""

    rewards_of: list[tuple[float, float]]
    rounds: list[list[int]] = field(default_factory=list)

    def __call__(self, asked: Any) -> Sampled:
        self.rounds.append(list(asked.prompts))
        total_N = torch.tensor([value for prompt in asked.prompts for value in self.rewards_of[prompt]])
        count = len(total_N)
        return Sampled(
            completions=Completions.from_ids([[1 + n] * (1 + n % 3) for n in range(count)], 0),
            transcripts=[Transcript(f"{prompt}", Outcome.OK, "", 0, 0) for prompt in asked.prompts for _ in range(2)],
            reference=None,
            heard=Heard(torch.full((count, 2), 0.5), torch.ones(count, dtype=torch.bool), torch.zeros(count)),
            rewards=Rewards(("format",), total_N[:, None], torch.ones(1), total_N, torch.full((count,), 0.5)),
        )


def compare(rewards: Rewards) -> torch.Tensor:
    return group_advantages(rewards.total_N.view(-1, 2), epsilon=0.0)


def find(groups: Any, rewards: list[tuple[float, float]]) -> tuple[Any, Sampler]:
    sampler = Sampler(rewards)
    return groups.find(Questions(range(len(rewards))), sampler, compare, 0), sampler


FLAT, TELLING = (1.0, 1.0), (0.0, 1.0)


def test_all_groups_are_one_rollout():
    found, sampler = find(AllGroups(), [TELLING, FLAT, TELLING])
    assert sampler.rounds == [[0, 1, 2]]
    assert (found.places, found.rounds) == ((0, 1, 2), 1)
    assert found.advantages_N.tolist() == [-1, 1, 0, 0, -1, 1]
    assert AllGroups().learnt(7) == 7


def test_it_stops_as_soon_as_there_are_enough():
    found, sampler = find(DynamicSampling(2), [FLAT, TELLING, FLAT, TELLING, TELLING, TELLING])
    assert sampler.rounds == [[0, 1], [2, 3]]
    assert (found.places, found.rounds) == ((1, 3), 2)
    assert found.advantages_N.tolist() == [0, 0, -1, 1, 0, 0, -1, 1]
    assert [transcript.text for transcript in found.sampled.transcripts] == [*"00112233"]
    assert found.sampled.completions.ids_NT.shape == (8, 3)  # of both rounds, padded to the longest


def test_one_round_is_enough_where_all_teach():
    found, sampler = find(DynamicSampling(2), [TELLING] * 6)
    assert sampler.rounds == [[0, 1]]
    assert (found.places, found.rounds) == ((0, 1), 1)


def test_of_more_than_are_wanted_the_first_are_taken():
    found, _ = find(DynamicSampling(2), [FLAT, TELLING, TELLING, TELLING])
    assert found.places == (1, 2)
    assert found.advantages_N.tolist() == [0, 0, -1, 1, -1, 1, 0, 0]  # nothing is learnt from the third


@pytest.mark.parametrize(
    ("rewards", "places"),
    [
        ([FLAT, FLAT, FLAT, TELLING], (0, 3)),  # filled up with the first flat one, in order
        ([FLAT, FLAT, FLAT, FLAT], (0, 1)),
        ([TELLING, FLAT, FLAT, FLAT], (0, 1)),
    ],
)
def test_a_batch_that_is_used_up_is_filled_with_flat_groups(rewards, places):
    found, sampler = find(DynamicSampling(2), rewards)
    assert sampler.rounds == [[0, 1], [2, 3]]
    assert (found.places, found.rounds) == (places, 2)
    telling = [at for at, given in enumerate(rewards) if given == TELLING]
    assert found.advantages_N.view(-1, 2).abs().sum(1).nonzero().flatten().tolist() == telling


def test_a_scale_of_the_batch_is_that_of_the_chosen_groups():
    seen: list[int] = []

    def by_batch(rewards: Rewards) -> torch.Tensor:
        seen.append(len(rewards.total_N) // 2)
        return group_advantages(rewards.total_N.view(-1, 2), epsilon=0.0, scale="batch")

    rewards = [FLAT, (0.0, 4.0), (0.0, 2.0), (0.0, 100.0)]
    found = DynamicSampling(2).find(Questions(range(4)), Sampler(rewards), by_batch, 0)  # type: ignore[arg-type]
    # chosen 0 4 0 2: mean 1.5, variance (2.25 + 6.25 + 2.25 + 0.25) / 4 = 2.75, sigma 1.6583124
    expected = [0.0, 0.0, -2 / 1.6583124, 2 / 1.6583124, -1 / 1.6583124, 1 / 1.6583124, 0.0, 0.0]
    torch.testing.assert_close(found.advantages_N, torch.tensor(expected), atol=1e-6, rtol=0)
    assert seen == [2, 4, 2]


@pytest.mark.parametrize(("prompts", "candidates"), [(2, 3), (4, 2), (3, 4)])
def test_batches_that_do_not_divide_are_refused(prompts, candidates):
    message = rf"model\.groups\.prompts: {prompts} groups a step must .* divide data.batch_size, of which {candidates}"
    with pytest.raises(ValueError, match=message):
        DynamicSampling(prompts).learnt(candidates)


def test_no_groups_are_refused():
    with pytest.raises(ValueError, match=r"model\.groups\.prompts: expected at least 1 group a step, got 0"):
        DynamicSampling(0)
