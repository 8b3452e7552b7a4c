"""Judging, validation and checkpoints of a reasoner, on the untrained model."""

import csv
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from lit_listener.evaluation.metrics import JudgementMetrics
from lit_listener.training import ListenerGRPO, Reasoner
from lit_listener.training.listener_grpo import Updates
from lit_listener.training.memory_options import Memory
from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.schedule import Schedule
from lit_listener.vlm.listeners import ModelListener, ReferenceListener
from lit_listener.vlm.specs import LoraSpec
from tests.training.test_step_report import KEYS
from tests.training.tiny_runs import BLANK, BabblingGRPO, data, grpo, pairs, sgd, shown, trainer, weights

VAL_KEYS = {"accuracy", "p_correct", "contradiction_share", "unparsable_share"}


@pytest.fixture(scope="module")
def judge() -> Any:
    module = grpo(listener=ModelListener("shapes-blank"))
    module.configure_model()
    return module


@pytest.fixture(scope="module")
def one_by_one(judge: Any) -> list[Any]:
    return [judge.judge([pair])[0] for pair in shown(20)]


@pytest.mark.parametrize("size", [2, 16, 64])
def test_judgements_do_not_depend_on_the_batch(judge, one_by_one, size):
    asked = shown(20)
    batched = [p for start in range(0, 20, size) for p in judge.judge(asked[start : start + size])]
    soft = ("p_second", "listener_p_second", "listener_p_correct")
    for one, other in zip(one_by_one, batched, strict=True):
        assert {k: v for k, v in asdict(one).items() if k not in soft} == {
            k: v for k, v in asdict(other).items() if k not in soft
        }
        for name in soft:
            assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-5)


@pytest.mark.parametrize("max_tokens", [300, 20])  # several pairs a pass; one each, which is longer than that
def test_judgements_do_not_depend_on_the_cut_into_passes(judge, one_by_one, monkeypatch, max_tokens):
    monkeypatch.setattr(judge, "budget", TokenBudget(max_tokens))
    cut = judge.judge(shown(20))
    for one, other in zip(one_by_one, cut, strict=True):
        assert other.trace == one.trace
        for name in ("p_second", "listener_p_second", "listener_p_correct"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-5)


def test_judgements_differ_between_pairs_and_orders(judge, one_by_one):
    assert len({prediction.trace for prediction in one_by_one}) > 10
    assert {prediction.answer for prediction in one_by_one} == {0, 1, None}
    pair = shown(1)[0]
    first, second = judge.judge([pair, replace(pair, first="b")])
    assert (first.first, second.first) == ("a", "b")
    assert first.label == 1 - second.label
    assert first.trace != second.trace


def test_a_judgements_stream_is_that_of_the_pair_in_its_display_order(judge, monkeypatch):
    asked = []
    monkeypatch.setattr(type(judge), "roll_out", lambda self, given, group_size: asked.append(given) or 1 / 0)
    pairs_shown = [replace(pair, epoch=3) for pair in shown(2)]
    with pytest.raises(ZeroDivisionError):
        judge.judge(pairs_shown)
    ids = [pair.pair.pair_id for pair in pairs_shown]
    assert asked[0].keys == [("judge", ids[0], "a"), ("judge", ids[1], "b")]  # neither batch, place nor epoch


def test_a_prediction_says_what_was_seen(judge, one_by_one):
    pair = shown(3)[2]
    prediction = one_by_one[2]
    assert (prediction.pair_id, prediction.prompt, prediction.label) == (
        pair.pair.pair_id,
        pair.pair.prompt,
        pair.label,
    )
    assert (prediction.generator_a, prediction.share_a) == (pair.pair.generator_a, pair.pair.share_a)
    for row in one_by_one:
        assert row.unparsable == (row.p_second is None) == (row.listener_p_correct is None)
        if not row.unparsable:
            right = row.listener_p_second if row.label == 1 else 1 - row.listener_p_second
            assert row.listener_p_correct == pytest.approx(right, abs=1e-6)


def test_the_own_soft_score_is_that_of_the_reference_where_the_policy_is_the_reference(tmp_path):
    module = grpo(listener=ReferenceListener())
    module.configure_model()
    for prediction in module.judge(shown(6)):
        assert prediction.p_second == pytest.approx(prediction.listener_p_second, abs=1e-5)


class Twice(Callback):
    """Keeps every validation's numbers."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        measured = trainer.callback_metrics
        self.values.append({k: float(v) for k, v in measured.items() if k.startswith("val/")})


def test_validation_does_not_drift(tmp_path):
    """At rate 0 nothing is learnt: every validation has to measure the same, between training steps and on its own."""
    module = grpo(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    twice = Twice()
    loaders = data(validation={"held_in": pairs(6, split="validation")}, eval_batch_size=4)
    run = trainer(tmp_path, 3, twice, val_check_interval=1)
    run.fit(module, loaders)
    run.validate(module, loaders, verbose=False)
    assert len(twice.values) == 4
    assert all(values == twice.values[0] for values in twice.values)
    assert set(twice.values[0]) == {f"val/{key}" for key in VAL_KEYS}
    assert 0 < twice.values[0]["val/accuracy"] < 1


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_published_metric_is_in_metrics_csv(tmp_path):
    module = grpo(updates=Updates(minibatches=2))
    sources = {"held_in": pairs(4, split="validation"), "v1.held_out": pairs(4, split="test")}
    logger = CSVLogger(tmp_path, name="", version="")
    trainer(tmp_path, 4, logger=logger, val_check_interval=2).fit(module, data(validation=sources, eval_batch_size=3))
    rows = read_csv(tmp_path)
    trained = [row for row in rows if row["reward/total"]]
    validated = [row for row in rows if row["val/accuracy"]]
    assert len(trained) == 2
    assert len(validated) == 1
    for row in trained:
        for key in KEYS:
            assert math.isfinite(float(row[key])), key
    for key in VAL_KEYS:  # the first source under the plain keys, the others under their names
        assert 0 <= float(validated[0][f"val/{key}"]) <= 1
        assert 0 <= float(validated[0][f"val/v1.held_out/{key}"]) <= 1
    named = {key for key in rows[0] if key.startswith("val/")}
    assert named == {f"val/{infix}{key}" for key in VAL_KEYS for infix in ("", "v1.held_out/")}


def test_validation_logs_the_means_of_its_judgements(tmp_path):
    module = grpo()
    sources = {"one": pairs(5, split="validation"), "two": pairs(3, split="test")}
    loaders = data(validation=sources, eval_batch_size=2)
    (first, second) = trainer(tmp_path, 1).validate(module, loaders, verbose=False)
    for infix, loader in zip(("", "two/"), loaders.val_dataloader(), strict=True):
        expected = JudgementMetrics()
        for batch in loader:
            expected.update(module.judge(batch))
        for key in VAL_KEYS:
            merged = {**first, **second}
            assert merged[f"val/{infix}{key}"] == pytest.approx(expected.compute()[key], abs=1e-6)


@pytest.mark.parametrize("command", ["test", "predict"])
def test_predictions_come_with_their_source(tmp_path, command):
    collector = PredictionsFile()
    sources = {"held_in": pairs(3, split="test"), "held_out": pairs(2, split="test", seed=1)}
    run = trainer(tmp_path, 1, collector)
    options: dict[str, Any] = {"verbose": False} if command == "test" else {}
    module, loaders = grpo(), data(test=sources, eval_batch_size=2)
    getattr(run, command)(module, loaders, **options)
    found = [(prediction.source, prediction.pair_id) for prediction in collector.predictions]
    assert found == [(name, pairs[n].pair_id) for name, pairs in sources.items() for n in range(len(pairs))]
    with pytest.raises(FileExistsError, match=r"holds an evaluation that has ended; go on with it: --resume"):
        getattr(run, command)(module, loaders, **options)
    (tmp_path / "predictions.parquet").unlink()
    getattr(run, command)(module, loaders, **options)
    assert len(collector.predictions) == 5  # begun anew


@pytest.mark.parametrize("lora", [None, LoraSpec(rank=2, alpha=4.0)])
def test_a_checkpoint_holds_what_trains_and_loads(tmp_path, lora):
    policy = replace(BLANK, lora=lora)
    module = grpo(policy=policy, listener=ModelListener("shapes-blank"))
    trainer(tmp_path, 1, RunCheckpoint()).fit(module, data())
    path = tmp_path / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    assert set(saved["state_dict"]) == set(module.trainable)
    assert "hyper_parameters" not in saved
    again = grpo(policy=policy, listener=ModelListener("shapes-blank"))
    again.configure_model()
    start = weights(again)
    trainer(tmp_path, 1).test(again, data(test={"held_in": pairs(1)}), ckpt_path=path, verbose=False)
    trained = weights(module)
    assert any(not torch.equal(start[name], trained[name]) for name in start)
    assert all(torch.equal(weights(again)[name], trained[name]) for name in trained)


def test_kept_features_change_nothing_and_are_in_no_checkpoint(tmp_path):
    """Four steps on eight pairs: the second epoch finds all images of the first."""
    ended, sizes = [], []
    for mib in (0.0, 1.0):
        module = grpo(memory=Memory(cached_features_mib=mib))
        trainer(tmp_path / str(mib), 4, RunCheckpoint()).fit(module, data(8))
        assert module.image_cache.hits == (16 if mib else 0)
        ended.append(weights(module))
        sizes.append((tmp_path / str(mib) / "checkpoints" / "last.ckpt").stat().st_size)
    assert all(torch.equal(weight, ended[0][name]) for name, weight in ended[1].items())
    kept = module.image_cache.bytes_kept
    assert kept > 100_000
    assert abs(sizes[1] - sizes[0]) < kept / 10


@pytest.mark.parametrize("lora", [None, LoraSpec(rank=2, alpha=4.0)])
def test_another_models_checkpoint_is_refused(tmp_path, lora):
    module = grpo(policy=replace(BLANK, lora=LoraSpec(rank=2, alpha=4.0) if lora is None else None))
    trainer(tmp_path, 1, RunCheckpoint()).fit(module, data())
    other = grpo(policy=replace(BLANK, lora=lora))
    path = tmp_path / "checkpoints" / "last.ckpt"
    message = r"the checkpoint holds other weights than this model trains: it lacks \d+ of them, for instance policy\."
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, 1).test(other, data(test={"held_in": pairs(1)}), ckpt_path=path, verbose=False)


class Rates(Callback):
    """The learning rate that each batch began with."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


TWO_A_ROLLOUT = Updates(minibatches=2)


@pytest.mark.parametrize(
    ("schedule", "expected", "updates", "max_steps", "max_epochs"),
    [
        # up over two steps, down to 0 over the six that are left: step k of 8 has (8 - k) / 6
        (Schedule("linear", 2), [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6], Updates(), 8, -1),
        (Schedule("linear", 2), [0, 1, 4 / 6, 2 / 6], TWO_A_ROLLOUT, 8, -1),
        (Schedule("linear", 2), [0, 1, 4 / 6, 2 / 6], TWO_A_ROLLOUT, -1, 2),
        (Schedule("linear", 2), [0, 1, 4 / 6, 2 / 6], TWO_A_ROLLOUT, 100, 2),
        (Schedule("constant_with_warmup", 4), [0, 2 / 4, 1, 1], TWO_A_ROLLOUT, 8, -1),
        (Schedule("constant"), [1, 1, 1, 1], TWO_A_ROLLOUT, 8, -1),
    ],
)
def test_the_schedule_steps_once_an_optimizer_step(tmp_path, schedule, expected, updates, max_steps, max_epochs):
    """Eight optimizer steps: of eight rollouts, or of four with two each."""
    rates = Rates()
    module = grpo(schedule=schedule, updates=updates, group_size=2)
    run = trainer(tmp_path, max_steps, rates, max_epochs=max_epochs)
    run.fit(module, data(4, batch_size=2))
    assert rates.rates == pytest.approx([0.02 * share for share in expected])
    assert run.global_step == 8


def test_a_schedule_without_an_end_to_fall_to_is_refused(tmp_path):
    run = trainer(tmp_path, -1, max_epochs=-1)
    message = r"model.schedule.name: linear cannot be used here \(the run has no end: set trainer.max_steps"
    with pytest.raises(ValueError, match=message):
        run.fit(grpo(schedule=Schedule("linear")), data())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, r"model.schedule.name: expected one of \['linear', 'cosine'.*\], got 'cosin'"),
        ({"name": "reduce_lr_on_plateau"}, r"model.schedule.name: expected one of"),
        ({"name": "linear", "warmup_steps": -1}, r"model.schedule.warmup_steps: expected at least 0, got -1"),
        ({"name": "constant", "warmup_steps": 5}, r"constant has no warm-up; use constant_with_warmup"),
    ],
)
def test_schedules_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


def test_a_prompt_that_does_not_fit_the_context_is_refused_before_any_step(tmp_path):
    module = grpo(sampling=replace(grpo().sampling, max_new_tokens=1000))
    run = trainer(tmp_path, 1)
    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens .* exceed the model's context of 1024: shorten"):
        run.fit(module, data())
    assert run.global_step == 0


@pytest.mark.parametrize(("command", "source"), [("validate", "validation"), ("test", "test"), ("predict", "test")])
def test_judging_without_pairs_is_refused(tmp_path, command, source):
    with pytest.raises(ValueError, match=rf"data.{source}: no pairs to judge; name a source of pairs"):
        getattr(trainer(tmp_path, 1), command)(grpo(), data())


def test_a_reasoner_validates_without_being_trained(tmp_path):
    reasoner = Reasoner(BLANK, task=grpo().task, sampling=grpo().sampling, optimizer=sgd)
    (values,) = trainer(tmp_path, 1).validate(reasoner, data(validation={"held_in": pairs(2)}), verbose=False)
    assert set(values) == {f"val/{key}" for key in VAL_KEYS}
    assert not isinstance(reasoner, ListenerGRPO | BabblingGRPO)
