"""Listeners around others within a GRPO step: they train, cost what they say, and are heard in evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lit_listener.training.examination import Examination
from lit_listener.training.memory_options import Memory
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.listeners import (
    BothOrdersListener,
    EnsembleListener,
    ModelListener,
    RandomListener,
    ReferenceListener,
    StrippedListener,
)
from tests.training.tiny_runs import data, grpo, pairs, shown, trainer


def model() -> ModelListener:
    return ModelListener("shapes-blank", "reasoner")


LISTENERS: dict[str, tuple[Any, int]] = {
    "mean of two": (lambda: EnsembleListener([ReferenceListener(), model()]), 1),
    "least of two": (lambda: EnsembleListener([model(), ModelListener("shapes-blank")], "min"), 2),
    "arguments, by a model": (lambda: StrippedListener(model()), 1),
    "arguments, by the reference": (lambda: StrippedListener(ReferenceListener()), 1),
    "both orders": (lambda: BothOrdersListener(model()), 2),
    "all of them": (
        lambda: EnsembleListener(
            [StrippedListener(BothOrdersListener(model())), StrippedListener(ReferenceListener())]
        ),
        3,
    ),
}
"""Each with the scoring passes that it takes."""


def train(module: Any, folder: Path) -> dict[str, float]:
    run = trainer(folder, 1, limit_val_batches=1)
    run.fit(module, data(8, validation={"held_in": pairs(4, split="validation")}, eval_batch_size=4))
    return {name: float(value) for name, value in run.logged_metrics.items()}


@pytest.mark.parametrize("name", LISTENERS)
def test_they_train(tmp_path, monkeypatch, name):
    passes: list[Backbone] = []
    score = Backbone.score
    monkeypatch.setattr(Backbone, "score", lambda self, *a, **k: passes.append(self) or score(self, *a, **k))
    make, further = LISTENERS[name]
    module = grpo(listener=make(), memory=Memory(100_000))
    run = trainer(tmp_path, 1, limit_val_batches=0)
    run.fit(module, data(8))
    assert len(passes) == 2 + further  # reference, update
    numbers = {each: float(value) for each, value in run.logged_metrics.items()}
    assert 0 <= numbers["listener/p_correct"] <= 1
    assert numbers["reward/listener"] >= 0
    if "reference" in name:
        assert numbers["listener/stripped_pass_s"] > 0
    if name == "both orders":
        assert 0 <= numbers["listener/one_order_share"] <= 1


@pytest.mark.parametrize("name", LISTENERS)
def test_they_listen_in_validation_and_examination(tmp_path, name):
    module = grpo(listener=LISTENERS[name][0](), evaluation=Examination(rollouts=2))
    train(module, tmp_path)
    rows = module.examine(list(shown(3)))
    assert len(rows) == 6
    assert any(row.listener_p_second is not None for row in rows)
    assert all((row.listener_p_second is None) == (row.listener_p_second_stripped is None) for row in rows)


def test_the_arguments_alone_are_what_the_examination_hears_too(tmp_path):
    """Two ways to the same word: a stripped listener in training, and the test's own stripping."""
    module = grpo(listener=ReferenceListener(), evaluation=Examination(without_thinking=False))
    train(module, tmp_path)
    plain = module.examine(list(shown(4)))
    module.listener = StrippedListener(ReferenceListener())
    module.prepare_listener(module.listener)
    stripped = module.examine(list(shown(4)))
    heard = [row for row in plain if row.listener_p_second_stripped is not None]
    assert heard
    for row, other in zip(plain, stripped, strict=True):
        if row.listener_p_second_stripped is not None:
            assert other.listener_p_second == pytest.approx(row.listener_p_second_stripped, abs=1e-5)
            assert other.listener_p_second_stripped == pytest.approx(row.listener_p_second_stripped, abs=1e-5)


def test_a_control_within_gives_way_to_the_reference_in_evaluation(tmp_path):
    control = grpo(listener=EnsembleListener([RandomListener(), RandomListener(1)]))
    plain = grpo(listener=ReferenceListener())
    for module, folder in ((control, "control"), (plain, "plain")):
        trainer(tmp_path / folder, 1, limit_val_batches=0)
        module.configure_model()
    with torch.no_grad():
        rows = [module.judge(list(shown(4))) for module in (control, plain)]
    for one, other in zip(*rows, strict=True):
        assert one.listener_p_second == pytest.approx(other.listener_p_second, abs=1e-6)
