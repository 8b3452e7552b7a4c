"""Fine-tuning on answers alone: its loss against the model's own pass, both kinds of labels, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.training import AnswerSFT
from lit_listener.training.answer_sft import _both_labels, _right_label
from lit_listener.vlm.rollout import Sampling
from tests.training.tiny_runs import BLANK, TEMPLATE, Listed, data, pairs, sgd, shown, trainer
from tests.vlm.tiny import plain_inputs


def task() -> PairwisePreference:
    return PairwisePreference(template=TEMPLATE, system=None)


def answers(**options: Any) -> AnswerSFT:
    return AnswerSFT(**{"policy": BLANK, "task": task(), "optimizer": sgd, **options})


def train(module: AnswerSFT, folder: Any, steps: int = 1, **loader: Any) -> dict[str, float]:
    run = trainer(folder, steps)
    run.fit(module, data(**{"train": 4, **loader}))
    return {name: float(value) for name, value in run.logged_metrics.items()}


def plain_log_probs(module: AnswerSFT, each: ShownPair, label: int) -> list[float]:
    """Each token of the reply, by transformers' own pass over one row, without the tokens never sampled."""
    text = f"<think>I have finished thinking.</think><answer>{label}</answer>"
    written = [*module.reader.tokenizer.encode(text, add_special_tokens=False), module.reader.tokenizer.eos_token_id]
    inputs = plain_inputs(module.reader, each, written, module.task)
    with torch.no_grad():
        logits = module.policy.model(**inputs).logits[0, -len(written) - 1 : -1].float()
    logits[:, module.policy.vocabulary.suppressed_ids] = -torch.inf
    logits[:, module.policy.vocabulary.size :] = -torch.inf
    return logits.log_softmax(-1)[range(len(written)), written].tolist()


@pytest.mark.parametrize("labels", ["majority", "votes"])
def test_the_loss_is_the_cross_entropy_of_whole_replies(tmp_path, labels):
    module = answers(labels=labels, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    logged = train(module, tmp_path)
    loss = answer_loss = 0.0
    for batch in data(4).train_dataloader():
        for each in batch:
            second = (each.pair.share_a if each.first == "b" else 1 - each.pair.share_a) if labels == "votes" else None
            weights = (1 - second, second) if second is not None else (each.label == 0, each.label == 1)
            for label, weight in enumerate(weights):
                tokens = plain_log_probs(module, each, label)
                loss -= weight * sum(tokens) / 4
                # the reply ends: label, "</", "answer", ">", end
                answer_loss -= weight * tokens[-5] / 4
    assert logged["sft/loss"] == pytest.approx(loss, abs=1e-4, rel=1e-5)
    assert logged["sft/answer_loss"] == pytest.approx(answer_loss, abs=1e-5)
    assert loss > answer_loss > 1  # an untrained model


def test_replies_and_their_weights():
    (first,) = shown(1)
    question = task().encode(first)
    assert _right_label(first, question) == [(first.label, 1.0)]
    pair = replace(first.pair, share_a=0.75)
    assert _both_labels(ShownPair(pair, "a", 0), question) == [(0, 0.75), (1, 0.25)]
    assert _both_labels(ShownPair(pair, "b", 0), question) == [(0, 0.25), (1, 0.75)]


def test_votes_that_are_tied_can_be_learnt_from_and_a_tie_has_no_majority(tmp_path):
    tied = Listed([replace(pair, share_a=0.5) for pair in (pairs(2)[0], pairs(2)[1])])
    assert train(answers(labels="votes"), tmp_path, train=tied, batch_size=2)["sft/loss"] > 0
    with pytest.raises(ValueError, match=r"pair .* is a tie, which has no majority: drop ties .* model\.labels: votes"):
        train(answers(), tmp_path, train=tied, batch_size=2)


def test_a_reply_without_thoughts_is_learnt_and_its_score_read(tmp_path):
    """Pairs whose better image is always the second: the form and the answer, by what an evaluation samples."""
    module = answers(
        task=PairwisePreference(template=TEMPLATE, system=None, thinks=False),
        policy=replace(BLANK, base="shapes-instruct"),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=2e-3),
        sampling=Sampling(8),
    )
    given = shown(4)
    second = [ShownPair(each.pair, "b" if each.pair.preferred == "a" else "a", each.index) for each in given]
    trainer(tmp_path, 25).fit(module, torch.utils.data.DataLoader(second * 25, batch_size=4, collate_fn=list))  # type: ignore[arg-type]
    rows = module.judge(second)
    assert [(row.outcome, row.answer, row.trace) for row in rows] == [("ok", 1, "")] * 4
    assert min(row.p_second or 0.0 for row in rows) > 0.9


def test_labels_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match=r"model\.labels: expected one of \['majority', 'votes'\], got 'mean'"):
        answers(labels="mean")


def test_demonstrations_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.traces: AnswerSFT learns answers without thoughts; leave it out"):
        train(answers(), tmp_path, traces=AnswerOnly())


class Fused(PairwisePreference):
    """A form whose label cannot be told from the tag before it."""

    def write(self, demonstration: Any) -> str:
        return "no answer at all"


def test_a_reply_without_a_token_for_its_label_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model\.task: the reply 'no answer at all' has no token of its own"):
        train(answers(task=Fused(template=TEMPLATE, system=None)), tmp_path)
