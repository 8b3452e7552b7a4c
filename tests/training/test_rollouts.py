"""A rollout within a step: cut to the memory there is, ended early, drawn by one engine or the other."""

from typing import Any

import pytest
import torch

from lit_listener.training.memory_options import Memory
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.rollout import GroupedRollout, Sampling, TransformersRollout
from tests.training.tiny_runs import Babble, BabblingGRPO, data, grpo, trainer


class Sampled(BabblingGRPO):
    """Keeps its completions."""

    def update(self, asked: Any, step: Any) -> None:
        self.sampled = step.rolled.completions
        super().update(asked, step)


class Counting(GroupedRollout):
    """Notes how many prompts and completions are asked for at once; runs out of memory above a number of tokens."""

    def __init__(self, room: float = float("inf")) -> None:
        super().__init__()
        self.room = room
        self.asked: list[tuple[int, int]] = []

    def draw(self, backbone: Any, prompts: Any, features_MD: Any, asked: Any) -> Completions:
        tokens = len(prompts) * (prompts.input_ids_PS.shape[1] + asked.group_size * asked.sampling.max_new_tokens)
        if tokens > self.room:
            raise torch.OutOfMemoryError("no room for so many keys and values")
        self.asked.append((len(prompts), asked.group_size))
        return super().draw(backbone, prompts, features_MD, asked)


class NoSevens(Babble):
    """Gives a completion up once its bytes add up to a multiple of seven."""

    def beyond_repair(self, raw: bytes) -> bool:
        return any(sum(raw[: end + 1]) % 7 == 0 for end in range(len(raw)))


def stepped(folder: Any, **options: Any) -> tuple[Any, dict[str, float]]:
    module = grpo(Sampled, **options)
    run = trainer(folder, 1)
    run.fit(module, data(4))
    return module, {
        name: float(value) for name, value in run.logged_metrics.items() if name[:4] not in ("time", "thro")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Any, dict[str, float]]:
    return stepped(tmp_path_factory.mktemp("whole"))


def assert_same(one: tuple[Any, dict[str, float]], other: tuple[Any, dict[str, float]]) -> None:
    for name in ("ids_NT", "mask_NT", "truncated_N"):
        assert torch.equal(getattr(one[0].sampled, name), getattr(other[0].sampled, name))
    assert one[1] == pytest.approx(other[1], abs=1e-5)


@pytest.mark.parametrize(
    ("tokens", "asked"),
    # prompts of 62 tokens, three completions of up to 8: 86 a group, 78 with two of the completions, 70 with one
    [(180, [(2, 3), (2, 3)]), (86, [(1, 3)] * 4), (79, [(1, 2), (1, 1)] * 4), (1, [(1, 1)] * 12)],
)
def test_a_rollout_is_cut_to_the_memory_there_is(tmp_path, whole, tokens, asked):
    engine = Counting()
    assert_same(stepped(tmp_path, engine=engine, memory=Memory(max_rollout_tokens=tokens)), whole)
    assert engine.asked == asked


def test_a_rollout_that_does_not_fit_is_begun_again_with_half(tmp_path, whole):
    engine = Counting(room=200)
    with pytest.warns(UserWarning, match=r"model\.memory\.max_rollout_tokens is lowered from null to 172"):
        assert_same(stepped(tmp_path, engine=engine), whole)
    assert engine.asked == [(2, 3), (2, 3)]


def test_the_engine_can_be_another(tmp_path, whole):
    assert_same(stepped(tmp_path, engine=TransformersRollout()), whole)


def test_hopeless_completions_end_early_in_training_alone(tmp_path, whole):
    options = {"task": NoSevens(), "sampling": Sampling(8, stop_malformed=True)}
    module, _ = stepped(tmp_path, **options)
    free, ended = whole[0].sampled, module.sampled
    assert int((ended.lengths_N < free.lengths_N).sum()) >= 3
    for n in range(len(ended)):
        raw = [
            b"".join(module.reader.token_bytes(free.ids_NT[n, :k].tolist()))
            for k in range(1, 1 + int(free.lengths_N[n]))
        ]
        given_up = next((k for k, text in enumerate(raw, 1) if module.task.beyond_repair(text)), len(raw))
        end = int(free.lengths_N[n])
        closed = not bool(free.truncated_N[n])  # its last token is the end token, at which nothing is looked at
        expected = given_up if given_up < end or (not closed and given_up < 8) else end
        assert int(ended.lengths_N[n]) == expected
        assert bool(ended.truncated_N[n]) == (expected < end or not closed)
