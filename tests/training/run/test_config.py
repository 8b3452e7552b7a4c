"""The config that a run leaves in its folder stands alone: it holds the wording, not the name of a file."""

import yaml

from lit_listener.judging.run_config import RunConfig, asked_policy, read_run_config
from lit_listener.tasks.pairwise import DEFAULT_RETELLING
from lit_listener.training.run.config import with_wording

OWN = "lit_listener.tasks.PairwisePreference"


def text(**init_args) -> str:
    task = {"class_path": OWN, "init_args": init_args}
    return yaml.safe_dump({"model": {"init_args": {"policy": {"base": "b"}, "task": task}}, "data": {"train": {}}})


def test_a_wordings_content_takes_the_place_of_its_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        'template: "{prompt} {image_0} {image_1}"\nlabels: ["1", "2"]\nanswer: Bild {label} ist besser – ja\n'
    )
    written = with_wording(text(file=str(file)))
    file.unlink()
    options = yaml.safe_load(written)["model"]["init_args"]["task"]["init_args"]
    assert options["template"] == "{prompt} {image_0} {image_1}"
    assert (options["labels"], options["file"], options["retelling"]) == (["1", "2"], None, DEFAULT_RETELLING)
    assert with_wording(written) == written  # a run that is gone on with finds nothing to change
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(written)
    config = read_run_config(tmp_path / "checkpoints" / "last.ckpt")
    assert isinstance(config, RunConfig)
    task = asked_policy(config).task
    assert task.opening("so") == "<think>so</think><answer>Bild "


def test_other_configs_stay_as_they_are():
    """Those too whose task is the user's own: what its file says is known to it alone."""
    for config in (
        text(file="mine.yaml").replace(OWN, "my_tasks.Mine"),
        text(template="x"),
        "model: null\n",
        "model: {init_args: {task: null}}\n",
        "data: {}\n",
    ):
        assert with_wording(config) == config
