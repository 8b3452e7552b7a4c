"""The bundled study: every arm's command parses, and says of itself what its name promises."""

import re
from pathlib import Path

import pytest

from lit_listener.cli import ReasonerCLI, build_cli
from lit_listener.data.shapes import ShapesPairs
from lit_listener.study.design import read_design, shortened
from lit_listener.study.jobs import Job, jobs_of
from lit_listener.training import ListenerGRPO
from lit_listener.training.reasoner import Reasoner
from lit_listener.vlm.listeners import ModelListener, RandomListener, ReferenceListener, ShuffledListener

DESIGN = read_design(Path("configs/shapes/study/study.yaml"))
JOBS = {job.name: job for job in jobs_of(DESIGN, Path("runs/study"))}
GRPO = [
    "grpo",
    "grpo_listener",
    "random_listener",
    "shuffled_listener",
    "mismatched_listener",
    "own_soft_score",
    "listener_only",
]


def built(job: Job, folder: Path) -> ReasonerCLI:
    words = [word for word in job.command[1:] if not word.startswith(("--run_dir", "--ckpt_path"))]
    return build_cli([*words, "--run_dir", str(folder)], run=False)


def grpo(arm: str, folder: Path) -> ListenerGRPO:
    module = built(JOBS[f"arms/{arm}/seed3/fit"], folder).model
    assert isinstance(module, ListenerGRPO)
    return module


def test_every_config_of_the_folder_is_used_and_says_what_it_does() -> None:
    folder = Path("configs/shapes/study")
    assert {path for path in DESIGN.files if path.parent == folder} == set(folder.glob("*.yaml")) - {
        folder / "study.yaml"
    }
    for path in folder.glob("*.yaml"):
        assert re.match(r"# [A-Z].*", path.read_text()), path


@pytest.mark.slow
def test_every_command_of_one_seed_parses_and_every_test_judges_the_same_pairs(tmp_path: Path) -> None:
    judged = set()
    for name, job in JOBS.items():
        if "seed" in name and "seed3" not in name:
            continue
        cli = built(job, tmp_path)
        if name.endswith("test"):
            judged.add(tuple((source, len(pairs), pairs.renderers) for source, pairs in cli.datamodule.test.items()))
            assert cli.datamodule.eval_orders == "both"
            assert not isinstance(cli.model, Reasoner) or cli.model.evaluation.rollouts == 5
    assert judged == {(("held_in", 300, ("flat", "paper")), ("held_out", 300, ("night",)))}


@pytest.mark.slow
def test_the_short_form_judges_fewer_pairs(tmp_path: Path) -> None:
    jobs = {job.name: job for job in jobs_of(shortened(DESIGN), tmp_path)}
    test = built(jobs["arms/bradley_terry/seed0/test"], tmp_path).datamodule.test
    assert all(isinstance(pairs, ShapesPairs) and len(pairs) < 100 for pairs in test.values())


@pytest.mark.slow
def test_arms_differ_in_listener_and_reward_alone(tmp_path: Path) -> None:
    modules = {arm: grpo(arm, tmp_path) for arm in GRPO}
    listeners = {arm: type(module.listener) for arm, module in modules.items()}
    assert listeners == {
        **dict.fromkeys(GRPO, ReferenceListener),
        "random_listener": RandomListener,
        "shuffled_listener": ShuffledListener,
        "mismatched_listener": ModelListener,
    }
    weights = {
        arm: {name: term.weight for name, term in module.reward_terms.items() if term.weight}
        for arm, module in modules.items()
    }
    heard = {"format": 1.0, "accuracy": 0.5, "listener": 0.5}
    assert weights == {
        **dict.fromkeys(GRPO, heard),
        "grpo": {"format": 1.0, "accuracy": 0.5},
        "own_soft_score": {"format": 1.0, "soft": 0.5},
        "listener_only": {"format": 1.0, "listener": 0.5},
    }
    assert len({module.group_size for module in modules.values()}) == 1


@pytest.mark.slow
def test_the_mismatched_listener_is_what_the_study_trains(tmp_path: Path) -> None:
    listener = grpo("mismatched_listener", tmp_path).listener
    assert isinstance(listener, ModelListener)
    assert Path(listener.name) == JOBS["ingredients/other_listener"].product
