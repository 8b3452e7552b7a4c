"""The reward model's training: its loss, what trains, and what validation and test record of it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from lit_listener import RewardModel
from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.data.records import RankedList
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import RewardQuestion
from lit_listener.training import BradleyTerryReward
from lit_listener.training.callbacks import ExportModel
from lit_listener.training.memory_options import Memory
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.training.tiny_runs import BLANK, Listed, data, pairs, sgd, shown, trainer, weights

QUESTION = RewardQuestion("{prompt}. {image} How good?", system=None)


def reward(**options: Any) -> BradleyTerryReward:
    return BradleyTerryReward(**{"policy": BLANK, "question": QUESTION, "optimizer": sgd, **options})


def with_head(**options: Any) -> BradleyTerryReward:
    """Loaded, with a head that is not zero."""
    module = reward(**options)
    module.configure_model()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        module.policy.head.weight.copy_(torch.randn(module.policy.head.weight.shape, generator=generator))
    return module


def train(module: BradleyTerryReward, folder: Any, steps: int = 1, **loader: Any) -> dict[str, float]:
    run = trainer(folder, steps)
    run.fit(module, data(**{"train": 4, **loader}))
    return {name: float(value) for name, value in run.logged_metrics.items()}


def one_by_one(module: BradleyTerryReward, each: ShownPair) -> list[float]:
    return [float(module.rater.scores([(each.pair.prompt, image)])) for image in each.images]


def test_before_the_first_step_every_pair_is_a_coins_toss(tmp_path):
    logged = train(reward(), tmp_path)
    assert logged["bradley_terry/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert (logged["bradley_terry/accuracy"], logged["bradley_terry/margin"]) == (0.0, 0.0)


@pytest.mark.parametrize("labels", ["majority", "votes"])
def test_the_loss_is_the_cross_entropy_of_the_scores(tmp_path, labels):
    module = with_head(labels=labels, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    logged = train(module, tmp_path)
    (batch,) = data(4).train_dataloader()
    differences, targets = [], []
    for each in batch:
        first, second = one_by_one(module, each)
        differences.append(second - first)
        share = 1 - each.pair.share_a if each.first == "a" else each.pair.share_a
        targets.append(share if labels == "votes" else float(share > 0.5))
    expected = functional.binary_cross_entropy_with_logits(torch.tensor(differences), torch.tensor(targets))
    assert logged["bradley_terry/loss"] == pytest.approx(float(expected), abs=1e-5)
    right = [(difference > 0) == (target > 0.5) for difference, target in zip(differences, targets, strict=True)]
    assert logged["bradley_terry/accuracy"] == pytest.approx(sum(right) / 4)
    margins = [d if target > 0.5 else -d for d, target in zip(differences, targets, strict=True)]
    assert logged["bradley_terry/margin"] == pytest.approx(sum(margins) / 4, abs=1e-5)
    assert max(map(abs, differences)) > 1e-2


def test_it_learns_pairs_seen_again_and_again(tmp_path):
    module = reward(
        policy=PolicySpec("shapes-instruct"), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)
    )
    logged = train(module, tmp_path, 15)
    assert logged["bradley_terry/loss"] < 0.3
    assert logged["bradley_terry/accuracy"] == 1.0
    rows = module.judge([ShownPair(pairs(4)[n], first, n) for n in range(4) for first in ("a", "b")])  # type: ignore[arg-type]
    assert [row.correct for row in rows] == [1] * 8
    assert min(row.p_correct or 0 for row in rows) > 0.6


@pytest.mark.parametrize("options", [{}, {"train_vision": True}, {"lora": LoraSpec(2, 4.0)}])
def test_what_trains_is_the_head_and_what_the_specification_says(tmp_path, options):
    module = with_head(policy=replace(BLANK, **options))
    before = weights(module)
    train(module, tmp_path)
    changed = {name for name, value in weights(module).items() if not torch.equal(value, before[name])}
    assert changed <= set(module.trainable or ())
    assert "policy.head.weight" in changed
    assert any(".visual." in name for name in changed) == bool(options.get("train_vision"))
    if "lora" in options:
        assert all("lora_" in name for name in changed if name != "policy.head.weight")
    else:
        assert any(".language_model." in name for name in changed)


def test_images_that_change_places_change_nothing():
    module = with_head()
    forth, back = module.judge([ShownPair(pairs(2)[1], first, 1) for first in ("a", "b")])  # type: ignore[arg-type]
    alone = module.judge([ShownPair(pairs(2)[1], "b", 1)])[0]
    assert back.p_second == pytest.approx(alone.p_second, abs=1e-6)
    assert forth.p_second is not None
    assert back.p_second is not None
    assert forth.p_second + back.p_second == pytest.approx(1.0, abs=1e-6)
    assert forth.p_a == pytest.approx(back.p_a, abs=1e-6)
    assert forth.chosen == back.chosen


@pytest.mark.parametrize("limit", [None, 1, 90])
def test_a_judgement_is_the_same_whatever_the_batch(limit):
    module = with_head(memory=Memory(limit))
    together = module.judge(shown(5))
    alone = [row for each in shown(5) for row in module.judge([each])]
    assert [row.p_second for row in together] == pytest.approx([row.p_second for row in alone], abs=1e-5)
    assert [row.pair_id for row in together] == [row.pair_id for row in alone]


def test_a_row_is_a_scorers():
    module = with_head()
    (each,) = shown(1)
    (row,) = module.judge([each], "held_in")
    first, second = one_by_one(module, each)
    assert row.p_second == pytest.approx(1 / (1 + math.exp(first - second)), abs=1e-5)
    assert row.answer == int(second > first)
    assert (row.outcome, row.length, row.trace, row.source) == ("ok", 0, "", "held_in")
    assert row.listener_p_second is None


def test_each_image_of_a_list_is_scored_once():
    module = with_head()
    found = [pairs(3)[n] for n in range(3)]
    images = tuple(image for pair in found for image in (pair.image_a, pair.image_b))[:4]
    ranked = RankedList("red circles", images, (1, 2, 3, 4), "l", "p", ("",) * 4)
    asked = [ShownPair(ranked.pair(a, b), "a", 0) for a in range(4) for b in range(a + 1, 4)]
    counted = []
    rate = module.policy.rate
    module.policy.rate = lambda prompts, features: counted.append(len(prompts)) or rate(prompts, features)  # type: ignore[method-assign]
    rows = module.judge(asked)
    assert sum(counted) == 4
    assert len(rows) == 6


def test_pairs_that_do_not_count_are_scored_and_left_out():
    module = with_head()
    first, second = shown(2)
    assert [row.pair_id for row in module.judge([first, replace(second, counted=False)])] == [first.pair.pair_id]


def test_a_tie_has_no_majority_and_can_be_learnt_from_votes(tmp_path):
    tied = Listed([replace(pairs(1)[0], share_a=0.5)])
    logged = train(reward(labels="votes"), tmp_path, train=tied, batch_size=1)
    assert logged["bradley_terry/loss"] == pytest.approx(math.log(2), abs=1e-6)
    with pytest.raises(ValueError, match=r"is a tie, which has no majority: drop ties from data\.train"):
        train(reward(), tmp_path, train=tied, batch_size=1)


def test_demonstrations_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.traces: a reward model writes nothing"):
        train(reward(), tmp_path, traces=AnswerOnly())


def test_four_bits_without_adapters_are_refused():
    with pytest.raises(ValueError, match=r"policy\.quantization: nf4: 4-bit weights cannot train; set policy\.lora"):
        reward(policy=replace(BLANK, quantization="nf4")).configure_model()


def test_a_score_that_is_not_finite_is_no_judgement():
    module = with_head()
    with torch.no_grad():
        module.policy.head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"pair .*: expected a finite score, got nan"):
        module.judge(shown(1))


def test_a_checkpoint_holds_the_head_and_what_trains(tmp_path):
    module = with_head(policy=replace(BLANK, lora=LoraSpec(2, 4.0)))
    run = trainer(tmp_path, 1)
    run.fit(module, data(4))
    run.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert set(saved) == set(module.trainable or ())
    assert "policy.head.weight" in saved
    other = reward(policy=replace(BLANK, lora=LoraSpec(2, 4.0)))
    run = trainer(tmp_path, 2)
    run.fit(other, data(4), ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert run.global_step == 2


def test_a_model_folder_at_the_end_of_training_has_the_head(tmp_path):
    module = with_head()
    run = trainer(tmp_path, 1, ExportModel("model", "float32"))
    run.fit(module, data(4))
    loaded = RewardModel.load(tmp_path / "model", device="cpu")
    (each,) = shown(1)
    assert loaded.score(each.pair.prompt, each.images) == pytest.approx(one_by_one(module, each), abs=1e-5)


class OwnQuestion(RewardQuestion):
    """A question that no folder could name."""


def test_a_question_of_an_own_class_cannot_be_kept_in_a_folder(tmp_path):
    module = reward(question=OwnQuestion("{prompt} {image}", system=None))
    with pytest.raises(ValueError, match=r"model\.question: only the wording of lit_listener\.tasks\.RewardQuestion"):
        trainer(tmp_path, 1, ExportModel("model", "float32")).fit(module, data(4))
