"""Supervised fine-tuning: its loss against transformers' own, and what it refuses."""

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.data.shapes import ShapesTraces
from lit_listener.data.shown import Demonstration, Demonstrator, Shown
from lit_listener.training import TraceSFT
from lit_listener.vlm.specs import PolicySpec
from tests.training.tiny_runs import BLANK, Babble, data, sgd, trainer, weights
from tests.vlm.tiny import plain_inputs

TRACES = ShapesTraces({"thorough": 0.5, "hasty": 0.5})


def sft(**options: Any) -> TraceSFT:
    return TraceSFT(**{"policy": BLANK, "task": Babble(), "optimizer": sgd, **options})


def train(module: TraceSFT, folder: Any, steps: int = 1, **loader: Any) -> dict[str, float]:
    run = trainer(folder, steps)
    run.fit(module, data(**{"train": 4, "traces": TRACES, **loader}))
    return {name: float(value) for name, value in run.logged_metrics.items()}


def test_the_loss_is_the_mean_over_the_written_tokens(tmp_path):
    """Against transformers' own loss over labels, one demonstration at a time, without the tokens never sampled."""
    module = sft(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    logged = train(module, tmp_path)
    task, tokenizer = module.task, module.reader.tokenizer
    total, tokens = 0.0, 0
    model = module.policy.model
    suppressed = module.policy.vocabulary.suppressed_ids
    with torch.no_grad():
        for batch in data(4, traces=TRACES).train_dataloader():
            for demonstration in batch:
                text = f"<think>{demonstration.trace}</think><answer>{demonstration.answer}</answer>"
                written = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
                inputs = plain_inputs(module.reader, demonstration.shown, written, task)
                labels = inputs["input_ids"].clone()
                labels[:, : -len(written)] = -100
                plain = model(**inputs, labels=labels)
                # the loss of transformers is over the whole vocabulary; ours leaves out what is never sampled
                predicting = plain.logits[0, -len(written) - 1 : -1]
                kept = 1 - predicting.softmax(-1)[:, suppressed].sum(-1)
                total += float(plain.loss) * len(written) + float(kept.log().sum())
                tokens += len(written)
    assert logged["sft/loss"] == pytest.approx(total / tokens, abs=1e-5)


class Losses(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["sft/loss"]))


def test_the_loss_falls_on_a_batch_seen_again_and_again(tmp_path):
    noted = Losses()
    module = sft(optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3))
    trainer(tmp_path, 12, noted).fit(module, data(4, traces=TRACES))
    assert noted.losses[0] > 6  # an untrained model is about as unsure as the vocabulary is large: log 700 is 6.6
    assert noted.losses[-1] < 0.5 * noted.losses[0]
    assert noted.losses[0] > noted.losses[4] > noted.losses[11]


def test_gradients_are_clipped_to_the_norm(tmp_path):
    start = sft()
    start.configure_model()
    before = weights(start)
    lengths, norms = [], []
    for limit in (float("inf"), 0.01):
        module = sft(gradient_clip_norm=limit)
        norms.append(train(module, tmp_path / str(limit))["sft/grad_norm"])
        moved = [(value - before[name]).flatten() for name, value in weights(module).items()]
        lengths.append(float(torch.cat(moved).norm()))
    assert norms[0] == pytest.approx(norms[1])  # logged before clipping
    assert norms[0] > 0.1
    assert lengths == pytest.approx([0.02 * norms[0], 0.02 * 0.01], rel=1e-3)  # gradient descent at rate 0.02


def test_only_the_policy_trains(tmp_path):
    module = sft(policy=PolicySpec("shapes-blank", train_vision=True))
    module.configure_model()
    before = weights(module)
    train(module, tmp_path)
    changed = {name for name, value in weights(module).items() if not torch.equal(value, before[name])}
    assert changed <= set(module.trainable)
    assert any(".visual." in name for name in changed)
    assert any(".language_model." in name for name in changed)


def test_a_gradient_that_is_not_a_number_touches_no_weight(tmp_path):
    module = sft()
    module.configure_model()
    before = weights(module)

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return torch.full_like(gradient, float("nan"))

    next(p for p in module.parameters() if p.requires_grad).register_hook(spoil)
    with pytest.raises(FloatingPointError, match="the gradient's norm is nan: nothing was updated"):
        train(module, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


def test_pairs_without_thoughts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.traces: name who writes the thoughts to learn from"):
        train(sft(), tmp_path, traces=None)


def test_a_demonstration_that_does_not_fit_the_context_is_refused(tmp_path):
    class Long(Demonstrator):
        def __call__(self, shown: Shown) -> Demonstration:
            return Demonstration(shown, "red. " * 600, 0)

    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens .* exceed the model's context of 1024"):
        train(sft(), tmp_path, train=1, batch_size=1, traces=Long())
