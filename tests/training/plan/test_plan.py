"""The plan of a step: its parts by hand, its cuts against the memory given, and what it says where nothing helps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit_listener.data.shown import Demonstration
from lit_listener.tasks import PairwisePreference
from lit_listener.training import ListenerGRPO, TraceSFT
from lit_listener.training.memory_options import TOKENS_PER_CPU_PASS, Memory
from lit_listener.training.plan.plan import USABLE, Plan, make_plan
from lit_listener.vlm.footprint import FOUR_BIT_BYTES
from lit_listener.vlm.listeners import EnsembleListener, ModelListener, StrippedListener
from lit_listener.vlm.live_bytes import LiveBytes
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import GroupedRollout, Sampling, TransformersRollout
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.training import tiny_runs
from tests.vlm.tiny import FOUR_BIT_WIDTHS, TASK, mixed, write_tiny

MIB = 2**20
LORA = LoraSpec(rank=2)


ENGINES = (GroupedRollout(), TransformersRollout())


def reasoner(folder: Any, *, kind: Any = ListenerGRPO, **options: Any) -> Any:
    policy = PolicySpec(str(folder), **options.pop("policy", {}))
    settings = {"task": TASK, "sampling": Sampling(max_new_tokens=12), "optimizer": torch.optim.AdamW}
    grpo = {"group_size": 4} if kind is ListenerGRPO else {}
    return kind(policy, **{**settings, **grpo, **options})


def plan(folder: Any, free_mib: float | None = None, *, pairs: int = 4, **options: Any) -> Plan:
    free = None if free_mib is None else int(free_mib * MIB)
    return make_plan(reasoner(folder, **options), mixed(pairs), free_bytes=free)


def test_what_is_held_by_hand(tiny_folder):
    module = reasoner(tiny_folder)
    found = make_plan(module, mixed(4), free_bytes=None)
    module.configure_model()
    size = sum(p.numel() for p in module.policy.parameters())
    vision = sum(p.numel() for p in module.policy.vision_tower.parameters())
    assert dict(found.held) == {
        "weights of the policy": 4 * size,
        "weights of the reference": 4 * (size - vision),
        "weights of the listener": 0,
        "gradients": 4 * (size - vision),
        "optimizer state": 8 * (size - vision),
        "image features": found.held["image features"],
    }
    prompts = module.reader.encoder.encode([TASK.encode(pair) for pair in mixed(4)])
    image_tokens = (prompts.image_grid_I3.prod(1) // 4).view(4, 2).sum(1)[prompts.lengths_P.argmax()]
    assert found.held["image features"] == 4 * image_tokens * 4 * 32  # the longest prompt's, for each of four
    tokens = 4 * (prompts.input_ids_PS.shape[1] + 4 * 12)
    assert found.shape.whole == tokens
    assert found.parts["keys and values"] == tokens * 2 * 2 * 1 * 16 * 4
    assert found.total == sum(found.held.values()) + sum(found.moments["update pass"].values())
    assert (found.max_tokens_per_pass, found.max_rollout_tokens, found.fits) == (TOKENS_PER_CPU_PASS, None, True)
    assert "nothing is cut" in str(found)


def test_adapters_share_the_base_and_a_started_reference_has_adapters_of_its_own(tiny_folder, tmp_path):
    base = plan(tiny_folder, policy={"lora": LORA}, reference="base").held
    assert base["weights of the reference"] == 0
    adapters = base["gradients"]
    assert 0 < adapters < 0.2 * base["weights of the policy"]
    assert base["optimizer state"] == 2 * adapters
    started = {"lora": LORA, "start": str(tmp_path)}  # its sizes are the options': nothing is read
    assert plan(tiny_folder, policy=started, reference="start").held["weights of the reference"] == adapters
    assert plan(tiny_folder, policy=started).held["weights of the reference"] == 0


def test_four_bits_shrink_the_frozen_weights_and_widen_the_cache(tmp_path):
    folder = write_tiny(tmp_path, **FOUR_BIT_WIDTHS)
    half, four = (
        plan(folder, policy={"lora": LORA, "dtype": "bfloat16", "quantization": name}) for name in (None, "nf4")
    )
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 16 + 3 * 64 * 128)
    weights = [found.held["weights of the policy"] for found in (half, four)]
    model = reasoner(folder, policy={"lora": LORA, "dtype": "bfloat16"})
    model.configure_model()
    own = [p.numel() for p in model.policy.parameters() if not p.requires_grad]
    vision = sum(p.numel() for p in model.policy.vision_tower.parameters())
    rest = sum(own) - linear - vision  # embeddings, norms and output matrix become float32
    assert weights[1] - weights[0] == pytest.approx((FOUR_BIT_BYTES - 2) * linear + 2 * rest)
    assert four.parts["keys and values"] == 2 * half.parts["keys and values"]
    assert four.held["gradients"] == half.held["gradients"]


def test_a_model_that_listens_has_weights_and_a_pass(tiny_folder):
    listened = plan(tiny_folder, listener=ModelListener(str(tiny_folder), dtype="bfloat16"))
    alone = plan(tiny_folder)
    assert listened.held["weights of the listener"] == alone.held["weights of the policy"] / 2
    assert 0 < sum(listened.moments["listener's pass"].values()) < sum(listened.moments["reference pass"].values())
    assert "listener's pass" not in alone.moments


def test_models_within_other_listeners_are_planned_for_too(tiny_folder):
    one = ModelListener(str(tiny_folder))
    alone = plan(tiny_folder, listener=one)
    several = plan(tiny_folder, listener=EnsembleListener([StrippedListener(ModelListener(str(tiny_folder))), one]))
    assert several.held["weights of the listener"] == 2 * alone.held["weights of the listener"] > 0
    assert several.moments["listener's pass"] == alone.moments["listener's pass"]
    assert "listener's pass, the 2. model" in several.moments


def test_ranks_share_weights_and_gather_them_again(tiny_folder):
    module = reasoner(tiny_folder)
    whole, shared = (make_plan(module, mixed(2), free_bytes=None, ranks=ranks) for ranks in (1, 4))
    for name in ("weights of the policy", "weights of the reference", "gradients", "optimizer state"):
        assert shared.held[name] == whole.held[name] / 4
    assert shared.moments["rollout"]["gathered weights"] == whole.held["weights of the policy"]
    assert shared.moments["update pass"]["gathered weights"] > 0
    assert "gathered weights" not in whole.parts


def test_vision_towers_that_differ_are_seen_once_they_are_loaded(tiny_folder, tmp_path):
    module = reasoner(tiny_folder, policy={"start": str(write_tiny(tmp_path, seed=1))})
    unloaded = make_plan(module, mixed(2), free_bytes=None).held
    module.configure_model()
    loaded = make_plan(module, mixed(2), free_bytes=None).held
    tower = sum(4 * p.numel() for p in module.policy.vision_tower.parameters())
    assert loaded["weights of the reference"] == unloaded["weights of the reference"] + tower


def test_the_plain_engine_keeps_a_prompt_for_every_completion(tiny_folder):
    plans = [make_plan(reasoner(tiny_folder, engine=e), mixed(2), free_bytes=None) for e in ENGINES]
    grouped, plain = (plan.parts["keys and values"] for plan in plans)
    shape = plans[0].shape
    assert plain / grouped == pytest.approx(
        shape.group_size * (shape.prompt_tokens + shape.completion_tokens) / shape.group_tokens
    )


def test_fine_tuning_has_no_rollout_and_cuts_nothing(tiny_folder):
    shown = [Demonstration(pair, "the first is better. " * 3, 0) for pair in mixed(3)]
    module = reasoner(tiny_folder, kind=TraceSFT)
    roomy, tight = (make_plan(module, shown, free_bytes=mib * MIB) for mib in (64, 2))
    assert set(roomy.moments) == {"images", "update pass", "optimizer"}
    assert (roomy.fits, tight.fits) == (True, False)
    assert roomy.max_tokens_per_pass == tight.max_tokens_per_pass == roomy.shape.whole
    assert roomy.max_rollout_tokens is None
    written = module.task.write(shown[0])
    module.configure_model()
    assert roomy.shape.completion_tokens == len(module.reader.encoder.encode_text(written)) + 1


def test_with_room_nothing_is_cut_and_with_less_the_largest_that_fits_is_chosen(tiny_folder):
    options: dict[str, Any] = {"pairs": 8, "group_size": 8, "sampling": Sampling(max_new_tokens=32)}
    roomy = plan(tiny_folder, 1000, **options)
    assert roomy.fits
    assert (roomy.max_tokens_per_pass, roomy.max_rollout_tokens) == (roomy.shape.whole, roomy.shape.whole)
    free = 0.6 * roomy.total / USABLE / MIB
    tight = plan(tiny_folder, free, **options)
    chosen = tight.max_tokens_per_pass
    assert tight.fits
    assert chosen is not None
    assert chosen % 256 == 0
    assert tight.shape.smallest <= chosen < tight.shape.whole
    above = plan(tiny_folder, free, memory=Memory(max_tokens_per_pass=chosen + 256), **options)
    assert not above.fits, "a larger one does not fit"
    assert plan(tiny_folder, free, memory=Memory(max_tokens_per_pass=chosen), **options).total == tight.total
    assert f"max_tokens_per_pass: {chosen} (chosen)" in str(tight)
    assert f"max_tokens_per_pass: {chosen + 256} (given)" in str(above)


def test_a_step_that_cannot_fit_says_what_to_change(tiny_folder):
    hopeless = plan(tiny_folder, 0.5)
    assert not hopeless.fits
    assert hopeless.max_tokens_per_pass == -(-hopeless.shape.smallest // 256) * 256
    text = str(hopeless)
    assert "does not fit" in text
    for option in ("gradient_checkpointing", "policy.lora", "max_pixels", "max_new_tokens", "data.batch_size"):
        assert option in text
    adapted = plan(tiny_folder, 0.5, policy={"lora": LORA, "gradient_checkpointing": True})
    assert "quantization" in str(adapted)
    assert "gradient_checkpointing" not in str(adapted)
    assert "max_tokens_per_pass: null" in str(plan(tiny_folder, 0.5, memory=Memory(max_tokens_per_pass=300)))
    assert "does not fit" not in str(plan(tiny_folder, 1000))


def test_no_pairs_are_refused(tiny_folder):
    with pytest.raises(ValueError, match=r"data\.train"):
        make_plan(reasoner(tiny_folder), [], free_bytes=None)


def test_planning_changes_nothing_of_the_reasoner_and_draws_no_random_numbers(tiny_folder):
    module = reasoner(tiny_folder, policy={"lora": LORA})
    state = torch.random.get_rng_state()
    unloaded = make_plan(module, mixed(2), free_bytes=64 * MIB)
    assert module.models is None
    assert torch.equal(torch.random.get_rng_state(), state)
    module.configure_model()
    before = tiny_runs.weights(module)
    loaded = make_plan(module, mixed(2), free_bytes=64 * MIB)
    assert str(loaded) == str(unloaded)
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in tiny_runs.weights(module).items())


@given(budget=st.integers(1, 3000), more=st.integers(0, 1000))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_larger_budget_holds_no_less(tiny_folder, budget, more):
    small, large = (plan(tiny_folder, memory=Memory(b, b), pairs=2) for b in (budget, budget + more))
    assert small.total <= large.total
    assert sum(small.moments["rollout"].values()) <= sum(large.moments["rollout"].values())


def test_larger_groups_and_longer_completions_and_prompts_hold_no_less(tiny_folder):
    first = reasoner(tiny_folder, task=PairwisePreference(template="{prompt} {image_0}{image_1}?", system=None))
    wordy = PairwisePreference(template="{prompt} {image_0}{image_1} " + "which is better " * 6 + "?", system=None)
    totals = [make_plan(first, mixed(2), free_bytes=None).total]
    for changes in ({"task": wordy}, {"group_size": 6}, {"sampling": Sampling(max_new_tokens=20)}):
        changed = reasoner(tiny_folder, **{"task": first.task, **changes})
        totals.append(make_plan(changed, mixed(2), free_bytes=None).total)
    assert totals[0] < min(totals[1:])


@pytest.mark.parametrize("policy", [{}, {"lora": LORA}, {"train_vision": True}], ids=str)
def test_a_real_update_holds_what_was_planned(policy):
    """A whole step of the bundled model: its update pass, measured as it runs, is within a tenth of the plan."""
    module = tiny_runs.grpo(
        policy=PolicySpec("shapes-instruct", **policy), kind=ListenerGRPO, task=None, optimizer=torch.optim.AdamW
    )
    shown = tiny_runs.shown(2)
    found = make_plan(module, shown, free_bytes=None)
    module.configure_model()
    asked = module.ask(shown, [(0, pair.index) for pair in shown])
    vocabulary = module.policy.vocabulary
    module.policy.vocabulary = replace(vocabulary, end_ids=())  # every completion is as long as it may be
    completions = module.roll_out(asked, 3)
    module.policy.vocabulary = vocabulary
    assert completions.ids_NT.shape == (6, found.shape.completion_tokens)
    module.policy.train()
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    with LiveBytes() as counted:
        packed = pack(asked.prompts, completions)
        features = module.policy.image_features(asked.prompts) if policy.get("train_vision") else asked.features_MD
        scores = module.policy.score(packed, features)
        scores.log_probs_NT[completions.mask_NT].sum().backward()
    assert found.moments["update pass"]["activations"] == pytest.approx(counted.peak, rel=0.1)
