"""A reward model out of a run, a checkpoint and exported folders: the scores that training had, in every form."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lit_listener import Judge, RewardModel
from lit_listener.__main__ import main
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.judging.run_config import asked_question, policy_spec, read_run_config
from lit_listener.training import BradleyTerryReward

TEMPLATE = "{prompt}. {image} How good?"
PAIRS = ShapesPairs(["flat", "paper"], 3, "test")
PROMPT = PAIRS.prompt(0)
IMAGES = [image for n in range(3) for image in (PAIRS[n].image_a, PAIRS[n].image_b)]


def call(*words: object) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as stopped:
        return int(stopped.code or 0)


def fit(folder: Path, **policy: Any) -> Path:
    """Train three steps, far enough that the head shows it."""
    source = {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": {"renderers": ["flat"], "size": 4}}
    question = {"class_path": "lit_listener.tasks.RewardQuestion", "init_args": {"system": None, "template": TEMPLATE}}
    options = {
        "policy": {"base": "shapes-instruct", **policy},
        "question": question,
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.002}},
    }
    config = {
        "trainer": {"max_steps": 3, "accelerator": "cpu", "enable_progress_bar": False, "num_sanity_val_steps": 0},
        "model": {"class_path": "lit_listener.training.BradleyTerryReward", "init_args": options},
        "data": {"train": source, "batch_size": 4},
    }
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    assert call("fit", "--config", path, "--run_dir", folder) == 0
    return folder


def trained(run: Path) -> BradleyTerryReward:
    """The training module with the checkpoint's weights, by Lightning's own way."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    config = read_run_config(checkpoint)
    module = BradleyTerryReward(policy_spec(config), asked_question(config))
    module.configure_model()
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert module.load_state_dict(weights, strict=False).unexpected_keys == []
    return module


@pytest.fixture(scope="module", params=["full", "lora"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    policy = {"lora": {"rank": 2, "alpha": 4.0}} if request.param == "lora" else {}
    return fit(tmp_path_factory.mktemp(request.param) / "run", **policy)


@pytest.fixture(scope="module")
def expected(run: Path) -> list[float]:
    scores: list[float] = trained(run).rater.scores([(PROMPT, image) for image in IMAGES]).tolist()
    assert max(scores) - min(scores) > 1e-2
    return scores


@pytest.fixture(scope="module")
def model(run: Path) -> RewardModel:
    return RewardModel.load(run, device="cpu")


def test_a_run_and_a_checkpoint_have_the_scores_of_training(run, model, expected):
    assert model.score(PROMPT, IMAGES) == pytest.approx(expected, abs=1e-5)
    by_checkpoint = RewardModel.load(run / "checkpoints" / "last.ckpt", device="cpu")
    assert by_checkpoint.score(PROMPT, IMAGES) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("merge", [False, True])
def test_an_exported_folder_has_the_scores_of_training(run, expected, tmp_path, merge):
    folder = tmp_path / "exported"
    merges = ["--merge", "--dtype", "float32"] if merge else []
    lora = "lora" in str(run.parent)
    assert (
        call("export", "--ckpt", run, "--output", folder, *merges, *([] if lora or merge else ["--dtype", "float32"]))
        == 0
    )
    assert (folder / "adapter_config.json").is_file() == (lora and not merge)
    assert not (folder / "judge.json").exists()
    assert json.loads((folder / "reward.json").read_text()) == {"template": TEMPLATE, "system": None}
    assert load_file(folder / "head.safetensors")["weight"].shape == (1, 128)
    assert "RewardModel.load" in (folder / "README.md").read_text()
    assert "reward-model" in (folder / "README.md").read_text()
    assert RewardModel.load(folder, device="cpu").score(PROMPT, IMAGES) == pytest.approx(expected, abs=1e-4)


def test_every_form_of_asking_gives_the_same(model, expected):
    order = sorted(range(6), key=lambda place: -expected[place])
    ranking = model.rank(PROMPT, IMAGES)
    assert ranking.scores == pytest.approx(expected, abs=1e-5)
    assert list(ranking.order) == order
    ranks, scores = model.inference_rank(PROMPT, IMAGES)
    assert [ranks[place] for place in order] == [1, 2, 3, 4, 5, 6]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert model.best_of(PROMPT, IMAGES, keep=2) == [IMAGES[place] for place in order[:2]]
    assert ranking.to_dict()["ranks"] == ranks
    many = model.rank_many([(PROMPT, IMAGES[:2]), ("blue stars", IMAGES[2:3]), (PROMPT, IMAGES[3:])])
    assert many[0].scores + many[2].scores == pytest.approx([*expected[:2], *expected[3:]], abs=1e-5)
    assert many[1].scores[0] != pytest.approx(expected[2], abs=1e-4)


def test_the_rewards_of_a_batch(model, expected):
    reward = model.reward_fn()
    assert reward(IMAGES, [PROMPT] * 6, {}) == (pytest.approx(expected, abs=1e-5), {})
    assert reward(IMAGES[:1], [PROMPT], None)[0] == pytest.approx(expected[:1], abs=1e-5)
    with pytest.raises(ValueError, match="expected one prompt for each image, got 1 prompts for 2 images"):
        reward(IMAGES[:2], [PROMPT])
    with pytest.raises(TypeError, match=r"prompts: expected a list, one for each image, got one text"):
        reward(IMAGES[:2], PROMPT)


def test_scores_are_the_evaluations(run, model):
    rows = trained(run).judge([ShownPair(PAIRS[0], "a", 0)])
    first, second = model.score(PROMPT, IMAGES[:2])
    assert rows[0].p_second == pytest.approx(1 / (1 + torch.tensor(first - second).exp().item()), abs=1e-5)


def test_an_anchor_or_other_options_are_refused(model):
    with pytest.raises(ValueError, match="anchor: a reward model scores each image by itself; leave it out"):
        model.score(PROMPT, IMAGES, anchor=IMAGES[0])
    with pytest.raises(ValueError, match="rollouts: a reward model scores each image by itself"):
        model.inference_rank(PROMPT, IMAGES, rollouts=3)


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        (" ", IMAGES[:1], "prompt: expected the text that the images were made from, got ' '"),
        (PROMPT, [], "images: expected at least one image, got none"),
        (PROMPT, [torch.zeros(2, 2)], r"images\[0\]: an image tensor must have the shape"),
    ],
)
def test_what_cannot_be_scored_is_told(model, prompt, images, message):
    with pytest.raises(ValueError, match=message):
        model.rank(prompt, images)


# ---- what is no reward model, and what is no judge -------------------------------------------------------------------


def test_a_judge_is_no_reward_model():
    with pytest.raises(
        ValueError, match=r"shapes is no reward model: it has no reward\.json; load it with Judge\.load"
    ):
        RewardModel.load("shapes", device="cpu")


def test_a_reward_model_is_no_judge(run, tmp_path):
    with pytest.raises(ValueError, match=r"is a reward model, which gives each image a score and neither compares"):
        Judge.load(run)
    folder = tmp_path / "exported"
    assert call("export", "--ckpt", run, "--output", folder) == 0
    with pytest.raises(ValueError, match=r"load it with RewardModel\.load, or rank with it"):
        Judge.load(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("reward.json", b"{}", r"reward\.json does not say how images are put before a reward model: KeyError"),
        ("reward.json", b'{"template": 3, "system": null}', r"reward\.json does not say how images are put"),
        ("head.safetensors", b"nothing", r"head\.safetensors cannot be read as a reward model's head"),
        ("head.safetensors", None, r"holds no head\.safetensors: a reward model's folder has one"),
    ],
)
def test_a_broken_folder_is_told(run, tmp_path, file, content, message):
    folder = tmp_path / "exported"
    assert call("export", "--ckpt", run, "--output", folder) == 0
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        RewardModel.load(folder, device="cpu")


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number, image in enumerate(IMAGES):
        image.save(tmp_path / f"img{number}.png")
    return [tmp_path / f"img{number}.png" for number in range(6)]


def test_rank_prints_scores(run, expected, files, capsys):
    assert call("rank", "--model", run, "--prompt", PROMPT, "--device", "cpu", *files) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.lstrip()[:1].isdigit()]
    order = sorted(range(6), key=lambda place: -expected[place])
    assert [row[:2] for row in rows] == [[str(rank), f"img{place}.png"] for rank, place in enumerate(order, 1)]
    assert [float(row[2]) for row in rows] == pytest.approx([expected[place] for place in order], abs=1e-3)


def test_rank_as_json(run, expected, files, capsys):
    assert call("rank", "--json", "--model", run, "--prompt", PROMPT, "--device", "cpu", *files[:1]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["scores"] == pytest.approx(expected[:1], abs=1e-5)
    assert (out["order"], out["ranks"], out["images"], out["model"]) == ([0], [1], [str(files[0])], str(run))


@pytest.mark.parametrize(
    ("option", "value"), [("rollouts", 3), ("anchor", 0), ("traces", "true"), ("listen", "true"), ("temperature", 0.5)]
)
def test_rank_refuses_what_only_a_judge_has(run, files, capsys, option, value):
    assert call("rank", "--model", run, "--prompt", PROMPT, f"--{option}", value, *files) == 1
    error = capsys.readouterr().err
    assert f"--{option}: {run} is a reward model, which scores each image by itself: leave it out" in error
