"""Who uses the reference: nobody where no KL is measured and nobody listens with it; and how it follows the policy."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_listener.training import RefreshEvery
from lit_listener.training.grpo_options import Objective, RewardWeights
from lit_listener.training.plan.plan import make_plan
from lit_listener.training.reference_use import Anchored, counterparts
from lit_listener.vlm.listeners import (
    ModelListener,
    NoListener,
    RandomListener,
    ReferenceListener,
    ShuffledListener,
)
from lit_listener.vlm.restoring import restore
from lit_listener.vlm.specs import LoraSpec
from tests.training.test_listener_grpo import Passes
from tests.training.tiny_runs import BLANK, BabblingGRPO, data, grpo, pairs, shown, trainer, weights

FREE = Objective(kl_weight=0.0)
LORA = replace(BLANK, lora=LoraSpec(rank=2, alpha=4.0))


def other() -> ModelListener:
    return ModelListener("shapes-instruct")


def train(module: Any, folder: Any, steps: int = 1, **loader: Any) -> dict[str, float]:
    run = trainer(folder, steps)
    run.fit(module, data(8, **loader))
    return {name: float(value) for name, value in run.logged_metrics.items()}


# ---- without a KL term -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [BLANK, LORA], ids=["full", "lora"])
def test_no_copy_is_held_and_no_pass_is_made(tmp_path, monkeypatch, policy):
    passes = Passes(monkeypatch)
    module = grpo(policy=policy, objective=FREE, listener=other())
    logged = train(module, tmp_path, steps=2)
    assert module.reference is None
    assert not any(name.startswith("reference") for name, _ in module.named_parameters())
    assert {id(backbone) for backbone, _ in passes.scored} == {id(module.policy), id(module.listener.backbone)}
    assert passes.scores_of(module.policy) == 2  # one an update
    assert math.isnan(logged["policy/kl"])
    assert logged["policy/entropy"] > 0
    assert not math.isnan(logged["listener/p_correct"])


class Referred(BabblingGRPO):
    """Asks the reference, though nothing reads it."""

    wants_reference = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.use_of_reference = Anchored()


def test_it_learns_what_it_would_with_a_reference_that_nothing_reads(tmp_path):
    options = {"objective": FREE, "listener": other()}
    free, referred = grpo(**options), grpo(Referred, **options)
    logged, measured = (train(module, tmp_path / name, 2) for name, module in (("free", free), ("not", referred)))
    assert referred.reference is not None
    assert measured["policy/kl"] > 0
    for name, weight in weights(free).items():
        assert torch.equal(weight, weights(referred)[name]), name
    for name in logged:
        if not name.startswith(("time/", "throughput/", "policy/kl")):
            assert logged[name] == measured[name], name


@pytest.mark.parametrize("listener", [ReferenceListener, ShuffledListener])
def test_a_listener_that_reads_the_reference_has_it_asked(tmp_path, listener):
    module = grpo(objective=FREE, listener=listener())
    logged = train(module, tmp_path)
    assert module.reference.copy is not None
    assert logged["policy/kl"] == pytest.approx(0.0, abs=1e-6)


def test_a_control_has_it_in_evaluation_alone(tmp_path, monkeypatch):
    passes = Passes(monkeypatch)
    module = grpo(objective=FREE, listener=RandomListener())
    logged = train(module, tmp_path / "trained")
    assert passes.scores_of(module.reference.copy) == 0
    assert math.isnan(logged["policy/kl"])
    run = trainer(tmp_path / "validated", 1)
    run.validate(module, data(validation={"held_in": pairs(2)}), verbose=False)
    assert passes.scores_of(module.reference.copy) == 1


def test_nobody_listens(tmp_path, monkeypatch):
    passes = Passes(monkeypatch)
    module = grpo(objective=FREE, listener=NoListener(), reward=RewardWeights(listener=0.0))
    run = trainer(tmp_path, 1)
    loaders = data(8, validation={"held_in": pairs(2)}, test={"held_in": pairs(2)})
    run.fit(module, loaders)
    logged = {name: float(value) for name, value in run.logged_metrics.items()}
    assert {backbone for backbone, _ in passes.scored} == {module.policy}
    assert logged["reward/listener"] == 0
    assert math.isnan(logged["listener/p_correct"])
    run.test(
        module, loaders, verbose=False
    )  # the evaluation has nobody to ask about stripped thoughts, and does not mind


def test_another_listener_examines_without_a_reference(tmp_path):
    module = grpo(objective=FREE, listener=other())
    train(module, tmp_path)
    rows = module.examine(shown(3))
    heard = [row for row in rows if row.p_second is not None]
    assert heard
    assert all(row.listener_p_second is not None and row.listener_p_second_stripped is not None for row in heard)


def test_the_memory_plan_has_no_reference():
    free, usual = (
        make_plan(grpo(objective=objective, listener=other()), shown(4), free_bytes=None)
        for objective in (FREE, Objective())
    )
    assert free.held["weights of the reference"] == 0 < usual.held["weights of the reference"]
    assert "reference pass" not in free.moments
    assert "reference pass" in usual.moments
    assert free.moments["rollout"] == usual.moments["rollout"]
    listening = make_plan(grpo(objective=FREE), shown(4), free_bytes=None)
    assert listening.moments.keys() == make_plan(grpo(), shown(4), free_bytes=None).moments.keys()


# ---- a reference that follows ----------------------------------------------------------------------------------------


def following(steps: int = 2, **options: Any) -> Any:
    return grpo(**{"listener": other(), "reference_refresh": RefreshEvery(steps), **options})


def difference(module: Any) -> float:
    both = counterparts(module.policy, module.reference).values()
    return max(float((own - frozen).detach().abs().max()) for own, frozen in both)


@pytest.mark.parametrize("policy", [BLANK, LORA, replace(BLANK, train_vision=True)], ids=["full", "lora", "vision"])
def test_the_reference_becomes_the_policy_every_second_step(tmp_path, policy):
    module = following(policy=policy)
    divergence, apart = [], []
    step = module.training_step

    def noting(*args: Any) -> None:
        step(*args)
        divergence.append(module.trail.metrics["policy/kl"])
        apart.append(difference(module))

    module.training_step = noting
    train(module, tmp_path, steps=4)
    # copied after the second and the fourth step: what is sampled in the third is sampled from the reference itself
    assert [value == 0 for value in apart] == [False, True, False, True]
    assert [value == pytest.approx(0.0, abs=1e-6) for value in divergence] == [True, False, True, False]
    assert not any(frozen.requires_grad for _, frozen in counterparts(module.policy, module.reference).values())
    assert all(own.requires_grad for own, _ in counterparts(module.policy, module.reference).values())


def test_fresh_adapters_have_a_reference_that_is_the_base():
    found = []
    for changing in (None, RefreshEvery(1)):
        module = grpo(policy=LORA, listener=other(), reference_refresh=changing)
        module.configure_model()
        asked = module.ask(shown(2), [(0, 0), (0, 1)])
        completions = module.roll_out(asked, 2)
        found.append(module.reference_scores(asked, completions, module.read(completions)).log_probs_NT)
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


def test_a_checkpoint_holds_the_reference_and_a_judge_does_without(tmp_path):
    for name, policy in (("full", BLANK), ("lora", LORA)):
        module = following(1, policy=policy)
        train(module, tmp_path / name)
        state = module.state_dict()
        assert set(state) == set(module.trainable) | set(counterparts(module.policy, module.reference))
        assert len(state) == 2 * len(module.trainable)
        restored = restore(policy, state)
        own = dict(restored.policy.named_parameters())
        for trained in module.trainable:
            assert torch.equal(own[trained.removeprefix("policy.")], state[trained])


@pytest.mark.parametrize("listener", [ReferenceListener, ShuffledListener, RandomListener])
def test_a_listener_that_would_drift_is_refused(listener):
    message = rf"model\.reference_refresh: {listener.__name__} hears with the reference .* name a ModelListener"
    with pytest.raises(ValueError, match=message):
        grpo(listener=listener(), reference_refresh=RefreshEvery(5))


def test_what_has_no_effect_is_refused():
    with pytest.raises(ValueError, match=r"model\.reference_refresh: with model\.objective\.kl_weight 0 nothing is"):
        following(objective=FREE)
    with pytest.raises(ValueError, match=r"model\.reference_refresh\.steps: expected at least 1 optimizer step, got 0"):
        RefreshEvery(0)
