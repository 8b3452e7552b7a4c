"""QLoRA on a plain CPU: adapters train on a 4-bit base, which stays as it is to the last byte."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.training import ListenerGRPO
from lit_listener.training.lesson import Lesson
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.training.tiny_runs import TEMPLATE, data, grpo, pairs, shown, trainer
from tests.vlm.tiny import completions

QLORA = PolicySpec("shapes-instruct", lora=LoraSpec(4, 8.0), quantization="nf4")


class Gradients(Callback):
    """Keeps every parameter's gradient at each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor | None]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        named = pl_module.policy.named_parameters()
        self.steps.append({name: None if p.grad is None else p.grad.clone() for name, p in named})


def frozen_bytes(module: Any) -> dict[str, Tensor]:
    """All that is saved of the model but its adapters: 4-bit data, their scales, embeddings, vision tower, norms."""
    return {name: w.clone() for name, w in module.policy.state_dict().items() if "lora_" not in name}


@torch.no_grad()
def log_probs(module: Any) -> dict[str, Tensor]:
    """Of given completions, by policy and by reference."""
    asked = module.ask(shown(2), [(0, 0), (0, 1)])
    given = completions(module.policy.eval(), [5, 3, 6, 4])
    transcripts = module.read(given)
    reference = module.reference_scores(asked, given, transcripts).log_probs_NT
    policy = module._log_probs(Lesson(asked, given, given.mask_NT, None, None, torch.zeros(4)))
    module.policy.eval()
    return {"policy": policy, "reference": reference[:, : policy.shape[1]]}


@pytest.mark.parametrize("options", [{}, {"train_vision": True}, {"dtype": "bfloat16", "gradient_checkpointing": True}])
def test_adapters_train_and_the_base_stays(tmp_path: Path, options: dict[str, Any]) -> None:
    # hot, so that the sure instruct model's groups differ within
    module = grpo(policy=PolicySpec(**{**vars(QLORA), **options}), sampling=Sampling(8, temperature=3.0))
    module.configure_model()
    bytes_before, before = frozen_bytes(module), log_probs(module)
    torch.testing.assert_close(before["policy"], before["reference"], atol=1e-5, rtol=0)  # new adapters change nothing
    gradients = Gradients()
    run = trainer(tmp_path, 2, gradients)
    run.fit(module, data(8))
    assert math.isfinite(run.logged_metrics["policy/loss"])
    assert run.logged_metrics["group/zero_variance_share"] < 1
    first, second = gradients.steps
    trained = {name for name in first if "lora_" in name}
    assert any(".visual." in name for name in trained) is options.get("train_vision", False)
    assert {name for name, gradient in first.items() if gradient is not None} == trained
    for name in sorted(trained):
        assert first[name].isfinite().all()  # type: ignore[union-attr]
        # B begins at zero, so that A's gradient is zero at the first step, and at the first step only
        assert bool(first[name].any()) == ("lora_B" in name), name  # type: ignore[union-attr]
        assert second[name].any(), name  # type: ignore[union-attr]
    bytes_after, after = frozen_bytes(module), log_probs(module)
    assert bytes_before.keys() == bytes_after.keys()
    assert all(torch.equal(bytes_before[name], bytes_after[name]) for name in bytes_before)
    four_bit = 4 * 7  # layers, linear maps of each
    assert sum(name.endswith("weight.absmax") for name in bytes_before) == four_bit
    assert torch.equal(after["reference"], before["reference"])
    assert (after["policy"] - before["policy"]).abs().max() > 1e-3


def test_only_adapters_go_into_a_checkpoint(tmp_path: Path) -> None:
    module = grpo(policy=QLORA)
    run = trainer(tmp_path, 1)
    run.fit(module, data(4))
    run.save_checkpoint(tmp_path / "last.ckpt")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=False)["state_dict"]
    assert len(kept) == 4 * 7 * 2
    assert all("lora_" in name for name in kept)


@torch.no_grad()
def mean_rewards(module: Any, count: int = 48, rollouts: int = 4) -> dict[str, float]:
    """The same fresh pairs, judged with the same random numbers whatever the policy."""
    source = pairs(count, split="validation")
    asked = module.ask(
        [ShownPair(source[n], "ab"[n % 2], n) for n in range(count)],  # type: ignore[arg-type]
        [("measured", n) for n in range(count)],
    )
    given = module.roll_out(asked, rollouts)
    transcripts = module.read(given)
    heard = module.hear(module.listener, asked, given, transcripts, module.reference_scores(asked, given, transcripts))
    rewards = module.reward(asked, given, transcripts, heard)
    return {"total": float(rewards.total_N.mean()), "accuracy": float(rewards["accuracy"].mean())}


@pytest.mark.slow
def test_the_reward_rises_on_shapes(tmp_path: Path) -> None:
    """Measured on 48 fresh pairs x 4 completions: 1.50 before, 1.63 after; accuracy 0.71 and 0.88."""
    torch.manual_seed(0)
    module = ListenerGRPO(
        policy=PolicySpec("shapes-warm-start", lora=LoraSpec(16, 32.0), quantization="nf4"),
        task=PairwisePreference(template=TEMPLATE, system=None),
        sampling=Sampling(max_new_tokens=64),
        group_size=6,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.0),
    )
    module.configure_model()
    before, bytes_before = mean_rewards(module), frozen_bytes(module)
    trainer(tmp_path, 20).fit(module, data(pairs(1000, seed=2), batch_size=8))
    after, bytes_after = mean_rewards(module), frozen_bytes(module)
    assert after["total"] > before["total"] + 0.05
    assert after["accuracy"] > before["accuracy"] + 0.08
    assert all(torch.equal(bytes_before[name], bytes_after[name]) for name in bytes_before)
