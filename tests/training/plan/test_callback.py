"""The plan before training on a GPU: when it is made, of which pairs, and that ranks agree on it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lit_listener.data.shapes import ShapesTraces
from lit_listener.training import PreferenceData
from lit_listener.training.memory_options import TOKENS_PER_CPU_PASS, Memory
from lit_listener.training.plan import callback
from lit_listener.training.plan.callback import PlanMemory, first_step
from tests.training.tiny_runs import data, grpo, trainer

MIB = 2**20


class OnCuda:
    """A trainer as the callback sees it on a machine with a GPU."""

    def __init__(self, source: Any) -> None:
        self.strategy = SimpleNamespace(root_device=torch.device("cuda", 0))
        self.datamodule = source


@pytest.fixture
def memory(monkeypatch) -> None:
    """A GPU of 64 MiB, 16 of which are ours already."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (48 * MIB, 80 * MIB))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 16 * MIB)


def planned(module: Any) -> Any:
    planner = PlanMemory()
    planner.on_fit_start(OnCuda(data(8)), module)  # type: ignore[arg-type]
    return planner.plan


def test_the_first_step_is_the_one_that_is_trained_on():
    source = data(8, batch_size=4)
    batch = next(iter(source.train_dataloader()))
    state = torch.random.get_rng_state()
    first = first_step(source)
    assert torch.equal(torch.random.get_rng_state(), state), "no loader was set going"
    assert [pair.index for pair in first] == [pair.index for pair in batch]
    assert [pair.index for pair in first_step(source, 2)] == [pair.index for pair in batch][:2]
    assert [pair.index for pair in next(iter(source.train_dataloader()))] == [pair.index for pair in batch]


def test_demonstrations_are_planned_for_as_such():
    source = PreferenceData(data(4).train, traces=ShapesTraces({"thorough": 1.0}), batch_size=2)
    assert all(hasattr(one, "trace") for one in first_step(source))


def test_a_gpu_is_planned_for_once_and_what_is_ours_on_it_counts_as_free(memory):
    module = grpo()
    plan = planned(module)
    assert plan.free_bytes == 64 * MIB
    assert plan.max_tokens_per_pass == plan.shape.whole
    assert plan.shape.prompts == 4


@pytest.mark.parametrize(
    "given", [Memory(max_tokens_per_pass=300), Memory(max_rollout_tokens=400), Memory(300, 400)], ids=str
)
def test_what_is_given_stays(memory, given):
    module = grpo(memory=given)
    plan = planned(module)
    if given == Memory(300, 400):
        assert plan is None, "nothing is left to choose"
        return
    for option in ("max_tokens_per_pass", "max_rollout_tokens"):
        asked, found = getattr(given, option), getattr(plan, option)
        assert found == (asked or plan.shape.whole)


def test_ranks_take_the_least_of_their_memory_and_budgets(memory, monkeypatch):
    others = {"memory": 32 * MIB, "budget": 200}
    monkeypatch.setattr(
        callback.ranks, "longest", lambda negative: max(negative, -others["memory" if negative < -MIB else "budget"])
    )
    module = grpo()
    plan = planned(module)
    assert plan.free_bytes == 32 * MIB
    assert (plan.max_tokens_per_pass, plan.max_rollout_tokens) == (200, 200)
    assert (module.budget.limit, module.rollout_budget.limit) == (200, 200)


def test_nothing_is_planned_on_a_cpu(tmp_path):
    module = grpo()
    planner = PlanMemory()
    trainer(tmp_path, 1, planner).fit(module, datamodule=data(4))
    assert planner.plan is None
    assert (module.budget.limit, module.rollout_budget.limit) == (TOKENS_PER_CPU_PASS, None)
