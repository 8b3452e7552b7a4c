from pathlib import Path

import pytest

from lit_listener.study.design import Arm, Design, Ingredient, Short, shortened
from lit_listener.study.jobs import Job, jobs_of


@pytest.fixture
def design(tmp_path: Path) -> Design:
    fit, test, few = (tmp_path / name for name in ("fit.yaml", "test.yaml", "few.yaml"))
    fit.write_text("trainer: {max_steps: 120}")
    test.write_text("data: {eval_orders: both}")
    few.write_text("data: {}")
    return Design(
        title="A study",
        seeds=[4, 7],
        arms=[
            Arm("start", "Start", [fit], trained=False),
            Arm("scores", "Scores", [fit], test_configs=[few], seeded=["seed_everything"]),
            Arm("heard", "Heard", [fit], options={"model.init_args.listener.init_args.model": "{ear}"}),
        ],
        test_configs=[test],
        ingredients=[Ingredient("ear", [fit])],
        quick=Short([4], 0.25, [few]),
    )


def by_name(design: Design, root: Path) -> dict[str, Job]:
    return {job.name: job for job in jobs_of(design, root)}


def options(job: Job) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in job.command[1:] if not word.startswith("--config="))


def configs(job: Job) -> list[str]:
    return [Path(word.removeprefix("--config=")).stem for word in job.command if word.startswith("--config=")]


def test_every_arm_is_trained_and_tested_with_every_seed(design: Design, tmp_path: Path) -> None:
    jobs = by_name(design, tmp_path / "study")
    of_seed = ["start/seed{}/test", "scores/seed{}/fit", "scores/seed{}/test", "heard/seed{}/fit", "heard/seed{}/test"]
    expected = [f"arms/{name}".format(seed) for seed in (4, 7) for name in of_seed]
    assert list(jobs) == ["ingredients/ear", *expected]
    for name, job in jobs.items():
        assert job.command[0] == ("test" if name.endswith("test") else "fit")
        assert options(job)["run_dir"] == str(job.folder) == str(tmp_path / "study" / name)


def test_a_test_judges_with_what_its_fit_trained(design: Design, tmp_path: Path) -> None:
    jobs = by_name(design, tmp_path)
    test = jobs["arms/heard/seed7/test"]
    assert test.needs == ("arms/heard/seed7/fit",)
    assert options(test)["ckpt_path"] == str(jobs["arms/heard/seed7/fit"].product)
    assert configs(test) == ["fit", "test"]
    assert "ckpt_path" not in options(jobs["arms/start/seed4/test"])
    assert configs(jobs["arms/scores/seed4/test"]) == ["fit", "few"]


def test_a_seed_sets_what_the_arm_says(design: Design, tmp_path: Path) -> None:
    jobs = by_name(design, tmp_path)
    assert options(jobs["arms/heard/seed7/fit"]).items() >= {
        ("seed_everything", "7"),
        ("data.seed", "7"),
        ("model.init_args.sampling.seed", "7"),
    }
    assert "data.seed" not in options(jobs["arms/scores/seed7/fit"])


def test_an_ingredient_is_trained_first_and_found_by_name(design: Design, tmp_path: Path) -> None:
    jobs = by_name(design, tmp_path)
    heard, ear = jobs["arms/heard/seed4/fit"], jobs["ingredients/ear"]
    assert heard.needs == ("ingredients/ear",)
    assert options(heard)["model.init_args.listener.init_args.model"] == str(ear.product)
    assert ear.product == ear.folder / options(ear)["export.folder"]


def test_the_short_form_has_a_share_of_the_steps_and_of_the_pairs(design: Design, tmp_path: Path) -> None:
    jobs = by_name(shortened(design), tmp_path)
    assert {name.split("/")[2] for name in jobs if name.startswith("arms")} == {"seed4"}
    assert options(jobs["arms/heard/seed4/fit"])["trainer.max_steps"] == "30"  # a quarter of 120
    assert configs(jobs["arms/heard/seed4/test"]) == ["fit", "test", "few"]
    assert "trainer.max_steps" not in options(by_name(design, tmp_path)["arms/heard/seed4/fit"])


def test_a_short_form_of_no_known_length_is_refused(design: Design, tmp_path: Path) -> None:
    design.arms[1].configs[0].write_text("trainer: {max_epochs: 1}")
    with pytest.raises(ValueError, match=r"quick: .*fit\.yaml.* set no trainer\.max_steps"):
        jobs_of(shortened(design), tmp_path)


def test_the_fingerprint_follows_the_command_and_what_the_configs_say(design: Design, tmp_path: Path) -> None:
    before = {name: job.fingerprint() for name, job in by_name(design, tmp_path / "study").items()}
    assert len(set(before.values())) == len(before)
    assert {name: job.fingerprint() for name, job in by_name(design, tmp_path / "elsewhere").items()} == before
    design.test_configs[0].write_text("data: {eval_orders: one}")
    after = {name: job.fingerprint() for name, job in by_name(design, tmp_path / "study").items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.endswith("test") and "scores" not in name}
