"""The runs that a study is made of, each a command line of its own, and which of them wait for which."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from lit_listener.study.design import SEEDED, Arm, Design, Ingredient
from lit_listener.training.run.evaluations import PARTS

_OF_TRAININGS = {"samples.show": "false", "trainer.limit_val_batches": "0"}
"""Nobody reads their terminals, and judges are tested afterwards."""


@dataclass(frozen=True)
class Job:
    """One run of the command line."""

    name: str
    """"arms/grpo/seed0/fit"."""
    folder: Path
    """Its run folder."""
    command: tuple[str, ...]
    """What starts it afresh, without ``python -m lit_listener``."""
    begun: Path
    """There once there is something to go on from; all else in the folder is not worth keeping."""
    product: Path
    """There once it is done."""
    configs: tuple[Path, ...]
    """The files that its command names."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that have to be done before."""

    def fingerprint(self) -> str:
        """Changes with the command and with what its files say, and not with where the study's folder lies."""
        root = str(self.folder).removesuffix(self.name)
        words = [word.replace(root, "") for word in self.command]
        told = "\n".join([*words, *(path.read_text() for path in self.configs)])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def next_command(self) -> tuple[str, ...]:
        """What to run now: a fresh start, or whatever goes on with what was broken off."""
        if self.begun.exists():
            return (self.command[0], "--resume", str(self.folder))
        if self.folder.exists():
            shutil.rmtree(self.folder)
        return self.command


def jobs_of(design: Design, root: Path) -> list[Job]:
    """Every run of a study, those of one seed beside each other, so that a study broken off has whole seeds.

    Args:
        design: the study.
        root: its folder.
    """
    jobs = [_ingredient(design, each, root) for each in design.ingredients]
    for seed in design.seeds:
        for arm in design.arms:
            fit = [_fit(design, arm, seed, root)] if arm.trained else []
            jobs += [*fit, _test(design, arm, seed, root, fit)]
    return jobs


def test_folder(root: Path, arm: Arm, seed: int) -> Path:
    """Where the judgements of an arm's judge lie."""
    return root / _name(arm, seed) / "test"


def _name(arm: Arm, seed: int) -> str:
    return f"arms/{arm.key}/seed{seed}"


def _weights(root: Path, ingredient: Ingredient) -> Path:
    return root / "ingredients" / ingredient.key / "model"


def _ingredient(design: Design, ingredient: Ingredient, root: Path) -> Job:
    name = f"ingredients/{ingredient.key}"
    options = {"export.folder": "model", **_shortened(design, ingredient.configs)}
    job = _job("fit", name, root, ingredient.configs, options)
    return replace(job, product=_weights(root, ingredient))


def _fit(design: Design, arm: Arm, seed: int, root: Path) -> Job:
    options = {**_options(design, arm, seed, root), **_shortened(design, arm.configs)}
    needs = tuple(f"ingredients/{each.key}" for each in arm.needs(design.ingredients))
    return _job("fit", f"{_name(arm, seed)}/fit", root, arm.configs, options, needs)


def _test(design: Design, arm: Arm, seed: int, root: Path, fit: list[Job]) -> Job:
    configs = arm.configs + (design.test_configs if arm.test_configs is None else arm.test_configs)
    if design.short and design.quick:
        configs = configs + design.quick.test_configs
    options = _options(design, arm, seed, root)
    if fit:
        options["ckpt_path"] = str(fit[0].folder / "checkpoints" / "last.ckpt")
    return _job("test", f"{_name(arm, seed)}/test", root, configs, options, tuple(job.name for job in fit))


def _options(design: Design, arm: Arm, seed: int, root: Path) -> dict[str, str]:
    weights = {each.key: _weights(root, each) for each in design.ingredients}
    told = {name: value.format(**weights) for name, value in (arm.options or {}).items()}
    return {**told, **{name: str(seed) for name in (SEEDED if arm.seeded is None else arm.seeded)}}


def _shortened(design: Design, configs: list[Path]) -> dict[str, str]:
    """Fewer steps, where this is the short form."""
    if not design.short or design.quick is None:
        return {}
    trainers = [(yaml.safe_load(path.read_text()).get("trainer") or {}) for path in configs]
    steps = [trainer["max_steps"] for trainer in trainers if "max_steps" in trainer]
    if not steps:
        raise ValueError(f"quick: {[str(path) for path in configs]} set no trainer.max_steps that could be shortened")
    return {
        "trainer.max_steps": str(max(1, round(steps[-1] * design.quick.step_share))),
        "trainer.limit_val_batches": "0",
    }


def _job(
    command: str, name: str, root: Path, configs: list[Path], options: Mapping[str, str], needs: tuple[str, ...] = ()
) -> Job:
    folder = root / name
    told = {**options, **(_OF_TRAININGS if command == "fit" else {}), "run_dir": str(folder)}
    words = [f"--config={path}" for path in configs] + [f"--{option}={value}" for option, value in told.items()]
    last = folder / "checkpoints" / "last.ckpt"
    begun, product = (last, last) if command == "fit" else (folder / PARTS, folder / "predictions.parquet")
    return Job(name, folder, (command, *words), begun, product, tuple(configs), needs)
