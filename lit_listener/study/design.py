"""What a study is made of, read from one YAML file: arms (ways to train), seeds, and how each judge is tested."""

from dataclasses import dataclass, replace
from pathlib import Path

import jsonargparse

SEEDED = ["seed_everything", "data.seed", "model.init_args.sampling.seed"]
"""What a seed sets, unless an arm says otherwise: new weights, the order of the data, and every drawn token."""


@dataclass(frozen=True)
class Ingredient:
    """A model that is trained once, before the arms, because some of them need it."""

    key: str
    """Name of its folder; in the options of arms ``{key}`` stands for the folder of its weights."""
    configs: list[Path]


@dataclass(frozen=True)
class Arm:
    """One way to come by a judge; trained and tested once a seed."""

    key: str
    """Name of its folder, and what tables and claims call it: "grpo_listener"."""
    name: str
    """What readers see: "GRPO + listener"."""
    configs: list[Path]
    """Files for ``fit`` and ``test``, a later one over an earlier one."""
    trained: bool = True
    """False: what the configs start from is tested as it is."""
    test_configs: list[Path] | None = None
    """Files for ``test`` in place of the study's own."""
    options: dict[str, str] | None = None
    """Further options of both commands."""
    seeded: list[str] | None = None
    """Options that a seed sets; by default ``SEEDED``."""

    def needs(self, ingredients: list[Ingredient]) -> list[Ingredient]:
        """The ingredients that its options name."""
        values = " ".join((self.options or {}).values())
        return [each for each in ingredients if f"{{{each.key}}}" in values]


@dataclass(frozen=True)
class Short:
    """What ``--quick`` changes: its numbers show that all of the study runs, and little else."""

    seeds: list[int]
    step_share: float
    """Optimizer steps of every training, as a share of what its config says; in (0, 1]."""
    test_configs: list[Path]
    """Files for ``test`` behind all others."""


@dataclass(frozen=True)
class Design:
    """A study before anything of it has been run."""

    title: str
    seeds: list[int]
    arms: list[Arm]
    test_configs: list[Path]
    """Files over an arm's own, for ``test``: what is judged, how often, and what is asked besides."""
    ingredients: list[Ingredient]
    quick: Short | None = None
    """What the short form is."""
    short: bool = False
    """Whether this is the short form."""

    def __post_init__(self) -> None:
        """Refuse what would overwrite itself, or train nothing."""
        for what, named in (
            ("seeds", self.seeds),
            ("arms' keys", [arm.key for arm in self.arms]),
            ("arms' names", [arm.name for arm in self.arms]),
            ("ingredients' keys", [each.key for each in self.ingredients]),
        ):
            if len(set(named)) < len(named):
                raise ValueError(f"{what}: each must be there once, got {named}")
        if not self.seeds or not self.arms:
            raise ValueError("a study needs at least one seed and one arm")
        if self.quick is not None and not 0.0 < self.quick.step_share <= 1.0:
            raise ValueError(f"quick.step_share: expected a share in (0, 1], got {self.quick.step_share}")

    @property
    def files(self) -> list[Path]:
        """Every config that it names."""
        named = [self.test_configs, self.quick.test_configs if self.quick else []]
        named += [each.configs for each in self.ingredients]
        named += [arm.configs + (arm.test_configs or []) for arm in self.arms]
        return list(dict.fromkeys(path for paths in named for path in paths))


def read_design(file: Path) -> Design:
    """The study that a YAML file describes.

    Args:
        file: such as configs/shapes/study/study.yaml; the files that it names are found from the working directory.

    Raises:
        FileNotFoundError: the file, or one that it names, is not there.
        ValueError: a key is unknown or missing, a value is of the wrong kind, or two arms share a name.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no study {file}; the bundled one is configs/shapes/study/study.yaml")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Design, "study")
    try:
        design: Design = parser.instantiate_classes(parser.parse_string(_under("study", file.read_text()))).study
    except (jsonargparse.ArgumentError, ValueError) as error:
        raise ValueError(f"study {file}: {error}") from error
    for path in design.files:
        if not path.is_file():
            raise FileNotFoundError(f"study {file}: there is no config {path}; start it in the project's own folder")
    return design


def shortened(design: Design) -> Design:
    """The short form of a study.

    Raises:
        ValueError: it has none.
    """
    if design.quick is None:
        raise ValueError("--quick: this study has no short form; leave it out, or give the study a quick part")
    return replace(design, seeds=design.quick.seeds, short=True)


def _under(key: str, text: str) -> str:
    return f"{key}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
