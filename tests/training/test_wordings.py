"""Other questions than the papers' are trained on: lists, and pairs that are asked about by a column of their own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from lit_listener.__main__ import main
from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.data.shapes import ShapesLists, ShapesListTraces, ShapesPairs
from lit_listener.data.shown import Demonstration
from lit_listener.data.sources import PairTable
from lit_listener.judging.judge import Judge
from lit_listener.tasks import Listwise, Outcome, PairwisePreference, Transcript
from lit_listener.training import PreferenceData, TraceSFT
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.packing import pack
from lit_listener.vlm.specs import PolicySpec
from tests.data.tables import png
from tests.training.tiny_runs import BabblingGRPO, grpo, trainer

LISTS = "{prompt}.{% for label in labels %} image {{ label }} {image}{% endfor %} Which is the best?"
TASTE = "{prompt}. first {image_0} second {image_1} This user likes {{ taste }}. Which is better, 0 or 1?"
INSTRUCT = PolicySpec("shapes-instruct")


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)


class Losses(Callback):
    """Notes the loss of every step, and the words of what was shown."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.asked: list[str] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(trainer.callback_metrics["sft/loss"]))
        for one in batch:
            content = pl_module.task.encode(one.shown).messages[-1]["content"]
            self.asked.append("".join(part.get("text", "[]") for part in content))


def best_named(module: TraceSFT, lists: ShapesLists) -> float:
    """The mean probability of the right label after true thoughts: how far the answer's form and place are learnt."""
    encoder, task = module.reader.encoder, module.task
    source, found = PreferenceData(lists, batch_size=len(lists), traces=ShapesListTraces()), []
    with torch.no_grad():
        for one in next(iter(source.train_dataloader())):
            assert isinstance(one, Demonstration)
            led_up = encoder.encode_text(task.opening(one.trace))
            prompts = encoder.encode([task.encode(one.shown)])
            (label_id,) = encoder.encode_text(task.labels[one.answer])
            rows = Completions.from_ids([[*led_up, label_id]], module.policy.vocabulary.pad_id)
            scores = module.policy.score(pack(prompts, rows), module.policy.image_features(prompts))
            found.append(float(scores.log_probs_NT[0, len(led_up)].exp()))
    return float(np.mean(found))


@pytest.mark.slow
def test_twenty_steps_teach_the_form_of_an_answer_about_a_list(tmp_path):
    """What is measured: the loss of each step, and the right label's probability at its place, after true thoughts."""
    torch.manual_seed(0)
    module = TraceSFT(policy=INSTRUCT, task=Listwise(LISTS, system=None), optimizer=adamw)
    noted = Losses()
    lists = ShapesLists(["flat", "paper"], 400, images=3, fewest=2, seed=3)
    run = trainer(tmp_path, 20, noted)
    run.fit(module, PreferenceData(lists, batch_size=8, traces=ShapesListTraces()))
    assert len(noted.losses) == 20
    assert noted.losses[0] > 4
    assert np.mean(noted.losses[-3:]) < 0.25 * noted.losses[0]
    assert {text.count("[]") for text in noted.asked} == {2, 3}
    module.policy.eval()
    unseen = ShapesLists(["flat", "paper"], 24, images=3, fewest=2, split="validation")
    untrained = TraceSFT(policy=INSTRUCT, task=Listwise(LISTS, system=None), optimizer=adamw)
    untrained.configure_model()
    before, after = best_named(untrained, unseen), best_named(module, unseen)
    assert after > 2 * before


class BabblingLists(Listwise):
    """Reads any completion as an answer about a list."""

    def __init__(self) -> None:
        super().__init__(LISTS, system=None, labels=("1", "2", "3", "4"))

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        text = b"".join(token_bytes)
        digest = sum(text)
        readable = bool(token_bytes) and digest % 5 != 0
        return Transcript(
            text=text.decode(errors="replace"),
            outcome=Outcome.OK if digest % 3 else Outcome.NO_THINK,
            think=None,
            answer=digest % 4 if readable else None,
            answer_token=digest % len(token_bytes) if readable else None,
        )


class Kept(BabblingGRPO):
    """Keeps what a step rolled out."""

    def update(self, asked: Any, step: Any) -> None:
        self.asked, self.step = asked, step
        super().update(asked, step)


def test_a_grpo_step_on_lists_is_paid_for_the_images_that_the_answer_beats(tmp_path):
    module = grpo(Kept, task=BabblingLists())
    run = trainer(tmp_path, 1)
    run.fit(module, PreferenceData(ShapesLists(["flat"], 8, images=3), batch_size=4))
    ranks = [shown.ranks for shown in module.asked.shown for _ in range(module.group_size)]
    by_hand = []
    completions = module.step.rolled.completions
    for ids, of_list in zip(completions.content_ids(), ranks, strict=True):
        answer = module.task.parse(module.reader.token_bytes(ids), truncated=False).answer
        if answer is None or answer > 2:
            by_hand.append(0.0)
            continue
        others = [rank for rank in of_list if rank != of_list[answer]]
        by_hand.append(sum(rank > of_list[answer] for rank in others) / len(others))
    assert len({*by_hand}) > 1
    logged = {name: float(value) for name, value in run.logged_metrics.items()}
    assert logged["reward/accuracy"] == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert 0.0 <= logged["listener/p_correct"] <= 1.0


def tasteful_table(folder: Any, size: int = 64) -> Any:
    """Pairs of a red and a blue picture, of which each user prefers the one of their colour."""
    pictures = {"red": png((214, 39, 40)), "blue": png((38, 90, 214))}
    rows = [
        {
            "prompt": ShapesPairs(["flat"], size)[n].prompt,
            "image_a": pictures["red" if n % 2 else "blue"],
            "image_b": pictures["blue" if n % 2 else "red"],
            "taste": ["red", "blue"][n // 2 % 2],
            "preferred": "a" if (n % 2 == 1) == (n // 2 % 2 == 0) else "b",
        }
        for n in range(size)
    ]
    path = folder / "tastes.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def taught_taste(tmp_path: Path, steps: int) -> tuple[TraceSFT, Losses]:
    torch.manual_seed(0)
    pairs = PairTable(tasteful_table(tmp_path), preferred="preferred", columns=["taste"])
    task = PairwisePreference(TASTE, system=None, thinks=False)
    policy = PolicySpec("shapes-instruct", train_vision=True)
    module = TraceSFT(policy=policy, task=task, optimizer=adamw)
    noted = Losses()
    trainer(tmp_path, steps, noted).fit(module, PreferenceData(pairs, batch_size=16, traces=AnswerOnly()))
    return module, noted


def test_each_user_is_asked_about_with_their_taste(tmp_path):
    _, noted = taught_taste(tmp_path, 1)
    assert {text.partition("likes ")[2].partition(".")[0] for text in noted.asked} == {"red", "blue"}


@pytest.mark.accept
def test_a_judge_learns_each_users_taste(tmp_path):
    """The pictures alone say nothing of who is right: only with the user's column can the loss fall below a guess's."""
    module, noted = taught_taste(tmp_path, 90)
    reply = [*module.reader.encoder.encode_text("<answer>0</answer>"), module.reader.tokenizer.eos_token_id]
    guess = np.log(2) / len(reply)  # all tokens of the reply but the label are certain
    assert np.mean(noted.losses[-3:]) < guess / 2


@pytest.mark.slow
def test_a_run_and_its_export_need_no_wording_file(tmp_path, capsys):
    """From a config that names a file to a judge in another place: the words are those of the file all along."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        'template: "{prompt}. first {image_0} second {image_1} Which is better?"\n'
        'system: null\nlabels: ["A", "B"]\nanswer: "Image {label}"\n'
    )
    pairs = {"class_path": "lit_listener.data.shapes.ShapesPairs"}
    config = {
        "trainer": {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False, "limit_val_batches": 0},
        "model": {
            "class_path": "lit_listener.training.TraceSFT",
            "init_args": {
                "policy": {"base": "shapes-instruct"},
                "task": {"class_path": "lit_listener.tasks.PairwisePreference", "init_args": {"file": str(file)}},
            },
        },
        "data": {
            "train": {**pairs, "init_args": {"renderers": ["flat"], "size": 2}},
            "traces": {"class_path": "lit_listener.data.shapes.ShapesTraces", "init_args": {"mix": {"thorough": 1.0}}},
            "batch_size": 2,
        },
    }
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(written), "--run_dir", str(run)]) == 0
    capsys.readouterr()
    resumed = ["fit", "--config", str(written), "--resume", str(run), "--trainer.max_steps", "2"]
    assert main(resumed) == 0
    told = capsys.readouterr().out
    assert "trainer.max_steps: 1 -> 2" in told
    assert "task" not in told  # the file's words are those that the run has
    file.unlink()
    assert str(file) not in (run / "config.yaml").read_text()
    assert main(["export", "--ckpt", str(run), "--output", str(tmp_path / "folder")]) == 0
    card = json.loads((tmp_path / "folder" / "judge.json").read_text())
    assert card["task"]["init_args"]["template"].endswith("Which is better?")
    pair = ShapesPairs(["flat"], 1)[0]
    asked = []
    for model in (str(run), str(tmp_path / "folder")):
        judge = Judge.load(model, device="cpu")
        asked.append(judge.compare(pair.prompt, pair.image_a, pair.image_b, both_orders=False).p_a)
    assert asked[0] == pytest.approx(asked[1], abs=1e-2)
