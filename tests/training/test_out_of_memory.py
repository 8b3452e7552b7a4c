"""Running out of memory: the budget is halved once, nothing else changes, and what to do is said."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.grpo_options import Updates
from lit_listener.training.memory_options import Memory
from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.listeners import ModelListener
from lit_listener.vlm.passes import Pass, tokens_of
from tests.training.several_ranks import by_two_ranks
from tests.training.tiny_runs import data, grpo, pairs, shown, trainer, weights

PROMPTS, COMPLETIONS = [10, 10], [5, 5, 5, 5]  # two rows of 20 tokens


def fits(most: int, tried: list[int]) -> Callable[[Sequence[Pass]], list[int]]:
    """Work on which memory runs out in a pass of more than ``most`` tokens; it gives each pass' tokens."""

    def work(passes: Sequence[Pass]) -> list[int]:
        done = []
        for each in passes:
            tried.append(tokens_of(each, PROMPTS, COMPLETIONS))
            if tried[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            done.append(tried[-1])
        return done

    return work


def test_work_that_fits_is_done_once():
    budget, tried = TokenBudget(20), []
    assert budget(fits(20, tried), PROMPTS, COMPLETIONS) == tried == [20, 20]
    assert (budget.limit, budget.lowered_from) == (20, None)


@pytest.mark.parametrize(("limit", "told"), [(None, "null"), (1000, "1,000"), (40, "40")])
def test_the_budget_becomes_half_of_what_was_tried_and_stays_so(limit, told):
    budget, tried = TokenBudget(limit), []
    with pytest.warns(UserWarning, match=f"max_tokens_per_pass is lowered from {told} to 20 for the rest of the run"):
        assert budget(fits(39, tried), PROMPTS, COMPLETIONS) == [20, 20]
    assert tried == [40, 20, 20]
    assert (budget.limit, budget.lowered_from) == (20, 40)
    assert budget(fits(39, tried), PROMPTS, COMPLETIONS) == [20, 20]


def test_a_rank_with_too_little_to_cut_makes_as_many_passes_as_the_others(monkeypatch):
    monkeypatch.setattr(ranks, "longest", lambda passes: max(passes, 5))
    made: list[Sequence[Pass]] = []
    assert TokenBudget()(lambda passes: made.append(passes) or len(passes), [10], [5, 5]) == 2
    assert [len(passes) for passes in made] == [2, 1, 1, 1]
    assert [passes[0].rows for passes in made[1:]] == 3 * [made[0][-1].rows]


def test_a_second_time_is_an_error_that_says_what_to_lower():
    budget = TokenBudget()
    message = (
        r"out of memory again, in passes of up to 20 tokens, after passes of 40 had not fitted either; set "
        r"model\.memory\.max_tokens_per_pass to 10 or less, or make prompts and completions shorter \(model\.policy"
    )
    with pytest.warns(UserWarning, match="lowered from null"), pytest.raises(torch.OutOfMemoryError, match=message):
        budget(fits(19, []), PROMPTS, COMPLETIONS)


def test_single_completions_cannot_be_cut():
    tried: list[int] = []
    with pytest.raises(torch.OutOfMemoryError, match="up to 15 tokens, and a completion with its prompt cannot"):
        TokenBudget(15)(fits(14, tried), PROMPTS, COMPLETIONS)
    assert tried == [15]


def test_other_errors_are_left_alone():
    def broken(passes: Sequence[Pass]) -> None:
        raise FloatingPointError("nan")

    budget = TokenBudget()
    with pytest.raises(FloatingPointError, match="nan"):
        budget(broken, PROMPTS, COMPLETIONS)
    assert budget.limit is None


def test_what_the_failed_pass_held_is_free_when_the_work_begins_again():
    held: list[weakref.ref[torch.Tensor]] = []

    def work(passes: Sequence[Pass]) -> bool:
        if held:
            return held[0]() is None
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    gc.disable()  # a cycle would be collected by chance
    try:
        with pytest.warns(UserWarning, match="out of memory"):
            assert TokenBudget()(work, PROMPTS, COMPLETIONS)
    finally:
        gc.enable()


@contextmanager
def scarce(
    monkeypatch: pytest.MonkeyPatch, whose: Callable[[], Backbone], most: int, *, backward: bool
) -> Iterator[list[int]]:
    """Memory for passes of ``most`` packed tokens of one model. Gives the tokens of the passes that did not fit."""
    failed: list[int] = []
    score = Backbone.score

    def scoring(backbone: Backbone, packed: Any, *args: Any, **kwargs: Any) -> Any:
        tokens = packed.input_ids_PK.numel()
        fits = backbone is not whose() or tokens <= most

        def run_out(gradient: Any = None) -> None:
            failed.append(tokens)
            raise torch.OutOfMemoryError("CUDA out of memory")

        if not fits and not backward:
            run_out()
        scores = score(backbone, packed, *args, **kwargs)
        if not fits and torch.is_grad_enabled():
            scores.log_probs_NT.register_hook(run_out)
        return scores

    with monkeypatch.context() as patched:
        patched.setattr(Backbone, "score", scoring)
        yield failed


def train(module: Any, folder: Any) -> dict[str, float]:
    """What two optimizer steps log of the policy."""
    run = trainer(folder, 2)
    run.fit(module, data(pairs(8, seed=2)))
    return {name: float(value) for name, value in run.logged_metrics.items() if "policy/" in name}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("updates", [Updates(), Updates(epochs=2)], ids=["on-policy", "off-policy"])
def test_an_optimizer_step_begins_again_as_if_nothing_had_been(tmp_path, monkeypatch, backward, updates):
    """Groups are of 73, 80, 77 and 80 tokens: the first pass has left gradients when the second does not fit."""
    undisturbed, disturbed = (grpo(updates=updates, memory=Memory(80)) for _ in range(2))
    expected = train(undisturbed, tmp_path)
    with (
        scarce(monkeypatch, lambda: disturbed.policy, 78, backward=backward) as failed,
        pytest.warns(UserWarning, match=r"lowered from 80 to 40 for the rest of the run"),
    ):
        metrics = train(disturbed, tmp_path)
    assert failed == [80]
    assert disturbed.budget.limit == 40
    assert metrics == pytest.approx(expected, abs=1e-5, rel=1e-5)
    for name, weight in weights(undisturbed).items():
        torch.testing.assert_close(weights(disturbed)[name], weight, atol=1e-6, rtol=0, msg=name)


def test_a_step_that_does_not_fit_in_the_end_touches_no_weight(tmp_path, monkeypatch):
    module = grpo()
    module.configure_model()
    before = weights(module)
    run = trainer(tmp_path, 1)
    with (
        scarce(monkeypatch, lambda: module.policy, 60, backward=True) as failed,
        pytest.warns(UserWarning, match="lowered from 1,536 to 158"),
        pytest.raises(torch.OutOfMemoryError, match="out of memory again, in passes of up to 158 tokens, after"),
    ):
        run.fit(module, data())
    assert failed == [316, 158]
    assert run.global_step == 0
    assert all(torch.equal(weight, before[name]) for name, weight in weights(module).items())


@pytest.mark.parametrize(("who", "most"), [("reference", 200), ("listener", 1000)])
def test_reference_and_listener_begin_again_too(monkeypatch, who, most):
    module = grpo(listener=ModelListener("shapes-blank"))
    module.configure_model()
    whose = {"reference": module.reference.copy, "listener": module.listener.backbone}[who]
    whole = module.judge(shown(4))
    with (
        scarce(monkeypatch, lambda: whose, most, backward=False) as failed,
        pytest.warns(UserWarning, match="lowered from null"),
    ):
        cut = module.judge(shown(4))
    assert failed[0] > most >= module.budget.limit
    assert len(failed) == 1
    for one, other in zip(whole, cut, strict=True):
        assert other.trace == one.trace
        assert other.listener_p_second == pytest.approx(one.listener_p_second, abs=1e-6)
    assert any(prediction.listener_p_second is not None for prediction in cut)


@pytest.mark.slow
def test_two_ranks_make_as_many_passes_and_do_not_begin_again_alone(tmp_path):
    by_two_ranks("tests.training.agreeing_ranks", str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first["passes"] == second["passes"] == 4
    assert first["message"] is None
    assert "on rank 1: with several processes none can begin again alone" in second["message"]
    assert "set model.memory.max_tokens_per_pass to 7 or less" in second["message"]
    # the second time rank 0 needs nothing, but encodes one image along with rank 1; the third time none does
    assert first["images"] == [2, 1]
    assert second["images"] == [2, 2]


@pytest.mark.slow
def test_two_ranks_judge_lists_of_unequal_length(tmp_path):
    """Each forward pass of sharded weights takes both ranks, and one of them has one pair where the other has ten."""
    by_two_ranks("tests.training.uneven_lists", str(tmp_path))
    rows = read_predictions(tmp_path / "predictions.parquet")
    assert sorted(Counter(row.list_id for row in rows).values()) == [1, 1, 10, 10]
