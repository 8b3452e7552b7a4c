"""What a test finds out about a judgement beside its answer, against passes made one by one."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.data.records import PairSource
from lit_listener.data.shown import ShownPair
from lit_listener.data.units import AnchorUnits
from lit_listener.training.examination import Examination
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import ModelListener, ReferenceListener
from lit_listener.vlm.packing import pack
from lit_listener.vlm.text_judge import TextJudge
from tests.data.test_units import Lists
from tests.training.tiny_runs import data, grpo, pairs, shown, trainer
from tests.vlm.test_text_judge import asked_plainly, knowing, write_text_model


def examined(examination: Examination, count: int = 4, **options: Any) -> tuple[Any, list[Any]]:
    module = grpo(evaluation=examination, **options)
    module._examines = True  # as before a test
    module.configure_model()
    return module, module.examine(shown(count))


def test_k_completions_of_a_pair_begin_with_the_one_that_is_judged():
    module, rows = examined(Examination(rollouts=3))
    assert [row.rollout for row in rows] == [0, 1, 2] * 4
    assert [row.index for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    judged = module.judge(shown(4))
    for one, again in zip(judged, rows[::3], strict=True):
        assert (one.trace, one.answer, one.length) == (again.trace, again.answer, again.length)
        assert again.p_second == pytest.approx(one.p_second, abs=1e-5)
    lengths = {tuple(row.length for row in rows[n : n + 3]) for n in range(0, 12, 3)}
    assert any(len(set(of_pair)) > 1 for of_pair in lengths)  # each has a stream of its own


def probability(module: Any, backbone: Backbone, pair: ShownPair, text: str) -> float:
    """p(second) after a text, from a pass of its own."""
    prompts = module.reader.encoder.encode([module.task.encode(pair)])
    ids = module.reader.encoder.encode_text(text, special=False)
    rows = Completions.from_ids([[*ids, 0]], 0)
    with torch.no_grad():
        scores = backbone.score(
            pack(prompts, rows),
            backbone.image_features(prompts),
            answer_place_N=torch.tensor([len(ids)]),
            label_ids=module.label_ids,
        )
    return float(scores.label_logits_NL.softmax(1)[0, 1])


def test_the_answer_without_thinking_is_the_policys_own():
    module, rows = examined(Examination(rollouts=2, strip_verdicts=False))
    for n, row in enumerate(rows):
        text = "<think>I have finished thinking.</think><answer>"
        expected = probability(module, module.policy, shown(4)[n // 2], text)
        assert row.p_second_without_thinking == pytest.approx(expected, abs=1e-5)


def test_the_listener_hears_the_thoughts_without_their_verdict():
    module, rows = examined(Examination(rollouts=2, without_thinking=False), count=6)
    readable = 0
    for n, row in enumerate(rows):
        if row.p_second is None:
            assert row.listener_p_second_stripped is None
            continue
        readable += 1
        stripped = module.task.strip_verdicts(row.trace)
        assert "is better" not in stripped
        with module.reference.active() as reference:
            expected = probability(module, reference, shown(6)[n // 2], module.task.opening(stripped))
        assert row.listener_p_second_stripped == pytest.approx(expected, abs=1e-5)
    assert readable > 5
    assert all(row.p_second_without_thinking is None for row in rows)


def test_an_independent_listener_is_heard_beside_the_one_of_training():
    same = Examination(independent_listener=ReferenceListener())
    _, rows = examined(same)
    assert [row.independent_p_second for row in rows] == [row.listener_p_second for row in rows]
    other = Examination(independent_listener=ModelListener("shapes-instruct", context="reasoner"))
    module, rows = examined(other)
    heard = [(row.independent_p_second, row.listener_p_second) for row in rows if row.listener_p_second is not None]
    assert heard
    assert all(one is not None and abs(one - two) > 1e-6 for one, two in heard)
    assert not any(p.requires_grad for p in module.independent_listener.parameters())
    assert all("independent" not in name for name in module.state_dict())


def test_training_does_not_load_whom_only_an_evaluation_asks(tmp_path):
    module = grpo(evaluation=Examination(independent_listener=ModelListener("no/such-model")))
    trainer(tmp_path, 1).fit(module, data())
    assert module.independent_listener is None


class Judge:
    """Says of each item how long its thoughts are."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.device: torch.device | None = None

    def prepare(self, device: torch.device) -> None:
        self.device = device

    def p_contradiction(self, items: Sequence[tuple[str, str]]) -> list[float]:
        self.asked += items
        assert self.device is not None
        return [1.0 / (1 + len(trace)) for trace, _ in items]


def test_a_text_judge_is_asked_of_what_has_thoughts_and_an_answer():
    judge = Judge()
    _, rows = examined(Examination(rollouts=4, text_judge=judge), count=8)  # type: ignore[arg-type]
    asked = [row for row in rows if row.p_contradiction is not None]
    assert len(asked) == len(judge.asked)
    assert 0 < len(asked) < len(rows)
    for row, (trace, answer) in zip(asked, judge.asked, strict=True):
        assert trace == row.trace
        assert answer == ("0 (the first image is better)", "1 (the second image is better)")[row.answer]
        assert row.p_contradiction == 1.0 / (1 + len(trace))
    assert all(row.answer is None or not row.trace for row in rows if row.p_contradiction is None)


def test_a_text_judge_is_loaded_for_an_evaluation_only(tmp_path):
    folder = write_text_model(tmp_path / "judge", knowing("YES", "NO"))
    judge = TextJudge(str(folder))
    evaluation = Examination(rollouts=2, text_judge=judge)
    trainer(tmp_path, 1).fit(grpo(evaluation=evaluation), data(4))
    with pytest.raises(RuntimeError, match="the text judge is not loaded"):
        judge.p_contradiction([])
    rows: list[dict[str, Any]] = []

    class Gathering(Callback):
        def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
            rows.extend(outputs)

    tester = trainer(tmp_path, -1, Gathering())
    tester.test(grpo(evaluation=evaluation), data(test={"t": pairs(6)}), verbose=False)
    asked = [row for row in rows if row["answer"] is not None and row["trace"]]
    words = ("0 (the first image is better)", "1 (the second image is better)")
    expected = [asked_plainly(folder, row["trace"], words[row["answer"]]) for row in asked]
    assert asked
    assert [row["p_contradiction"] for row in asked] == pytest.approx(expected, abs=1e-5)


def test_nothing_is_asked_that_was_not_wished_for():
    _, rows = examined(Examination(without_thinking=False, strip_verdicts=False))
    for row in rows:
        assert {asdict(row)[name] for name in ("p_second_without_thinking", "p_contradiction")} == {None}
    with pytest.raises(ValueError, match=r"model\.evaluation\.rollouts: expected at least 1 completion a pair, got 0"):
        Examination(rollouts=0)


class Painted(Lists):
    """Lists of different pictures."""

    def __getitem__(self, index: int) -> Any:
        ranked = super().__getitem__(index)
        drawn = pairs(40, seed=index)
        images = [picture for n in range(len(ranked.images)) for picture in (drawn[n].image_a,)]
        return type(ranked)(
            ranked.prompt, tuple(images), ranked.ranks, ranked.list_id, ranked.prompt_id, ranked.generators
        )


class OfLists(PairSource):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return Painted([9])[0].pair(0, 1)

    def ranked_lists(self) -> Painted:
        return Painted([9, 4])


@pytest.mark.parametrize("orders", ["balanced", "both"])
def test_a_list_costs_as_many_comparisons_as_it_has_other_images_and_each_image_is_encoded_once(
    tmp_path, monkeypatch, orders
):
    encoded: list[int] = []
    features = Backbone.image_features

    def counted(backbone: Backbone, prompts: Any) -> Any:
        encoded.append(len(prompts.image_grid_I3))
        return features(backbone, prompts)

    monkeypatch.setattr(Backbone, "image_features", counted)
    module = grpo(evaluation=Examination(rollouts=3), listener=ReferenceListener())
    source = data(test={"lists": OfLists()}, eval_lists="anchor", eval_orders=orders, eval_batch_size=8)
    judged: list[int] = []

    class Counting(Callback):
        def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
            judged.append(len({(row["pair_id"], row["first"]) for row in outputs}))

    trainer(tmp_path, -1, Counting()).test(module, source, verbose=False)
    assert judged == [8 * (1 + (orders == "both")), 3 * (1 + (orders == "both"))]
    assert sum(encoded) == 9 + 4
    assert len(AnchorUnits(Painted([9, 4]), 0)) == 2
