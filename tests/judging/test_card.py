"""What a model folder says of how it is asked: read with care, and written of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_listener.judging.card import CARD, card_text, default_card, read_card
from lit_listener.judging.run_config import RunConfig, card_of_run
from lit_listener.tasks import PairwisePreference
from lit_listener.tasks.pairwise import DEFAULT_CONTINUATION, DEFAULT_RETELLING, DEFAULT_SYSTEM, DEFAULT_TEMPLATE
from lit_listener.vlm.specs import BUNDLED
from tests.vlm.tiny import shown

ASSETS = Path(__file__).parents[2] / "lit_listener" / "assets"
CONFIGS = Path(__file__).parents[2] / "configs" / "shapes"
OWN = "lit_listener.tasks.PairwisePreference"
TEMPLATE = "{prompt} {image_0} {image_1}"
LISTENERS = "lit_listener.vlm.listeners."


class OthersTask(PairwisePreference):
    """A task that is no part of the package."""


def card(**fields: Any) -> str:
    return json.dumps({"task": {"class_path": OWN, "init_args": {"template": TEMPLATE, "system": None}}, **fields})


def words(task: Any) -> str:
    """What is asked of a pair."""
    return repr(task.encode(shown()).messages)


def test_a_card_says_how_a_model_is_asked():
    read = read_card(card(max_new_tokens=7, temperature=2, listener="me/base", listener_context="own"), "here")
    assert words(read.task) == words(PairwisePreference(TEMPLATE, None))
    assert (read.max_new_tokens, read.temperature, read.listener, read.listener_context) == (7, 2, "me/base", "own")
    least = read_card(json.dumps({"task": {"class_path": OWN}}), "here")
    assert words(least.task) == words(default_card().task) == words(PairwisePreference())
    assert (least.max_new_tokens, least.temperature, least.listener) == (512, 1.0, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "Expecting value"),
        ("[]", r"expected an object with the fields \('task', .*, got \[\]"),
        (card(top_k=3), "top_k: there is no such field; expected"),
        ("{}", "task: expected class_path and init_args, got None"),
        (json.dumps({"task": {"class_path": 3}}), "task: expected class_path and init_args, got"),
        (json.dumps({"task": {"class_path": OWN, "init_args": [1]}}), "task.init_args: .* cannot be made of them"),
        (json.dumps({"task": {"class_path": OWN, "init_args": {"style": 1}}}), "task.init_args: .*'style'"),
        (json.dumps({"task": {"class_path": OWN, "init_args": {"template": 1}}}), "task.init_args: "),
        (json.dumps({"task": {"class_path": OWN, "init_args": {"template": "?"}}}), r"task.init_args: .*\{prompt\}"),
        (card(max_new_tokens=0), "max_new_tokens: expected a whole number of at least 1, got 0"),
        (card(max_new_tokens=1.5), "max_new_tokens: expected a whole number of at least 1, got 1.5"),
        (card(max_new_tokens=True), "max_new_tokens: expected a whole number of at least 1, got True"),
        (card(temperature=0), "temperature: expected a finite number above 0, got 0"),
        (card(temperature="1"), "temperature: expected a finite number above 0, got '1'"),
        (card(temperature=float("inf")), "temperature: expected a finite number above 0, got inf"),
        (card(temperature=float("nan")), "temperature: expected a finite number above 0, got nan"),
        (card(listener=3), "listener: expected the name of a model or null, got 3"),
        (card(listener=""), "listener: expected the name of a model or null, got ''"),
        (card(listener_context="mine"), r"listener_context: expected one of \('own', 'reasoner'\), got 'mine'"),
    ],
)
def test_a_card_out_of_range_is_refused_by_file_and_field(content, message):
    with pytest.raises(ValueError, match=rf"^folder/judge\.json: {message}"):
        read_card(content, "folder/judge.json")


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        f"{__name__}.OthersTask",
        "lit_listener.tasks.Outcome",
        "lit_listener.tasks.Task",
        "lit_listener.tasks.nowhere.Task",
        "lit_listener.tasksevil.Task",
        "lit_listener.training.ListenerGRPO",
        "PairwisePreference",
    ],
)
def test_nothing_but_the_packages_tasks_is_imported(path):
    content = json.dumps({"task": {"class_path": path}})
    with pytest.raises(ValueError, match=r"is no task of lit_listener\.tasks, and nothing else is imported"):
        read_card(content, "here")
    own = PairwisePreference()
    assert read_card(content, "here", task=own).task is own


def test_another_task_is_imported_for_those_who_trust_it():
    content = json.dumps({"task": {"class_path": f"{__name__}.OthersTask"}})
    assert type(read_card(content, "here", imports=True).task).__name__ == "OthersTask"
    for path, message in (("nowhere.at.All", "cannot be imported"), ("os.system", "is no class of tasks")):
        with pytest.raises(ValueError, match=f"^here: task: {path} {message}"):
            read_card(json.dumps({"task": {"class_path": path}}), "here", imports=True)


def test_wordings_left_to_their_defaults_are_written_out():
    written = json.loads(card_text({"class_path": OWN, "init_args": {"system": None}}, max_new_tokens=3))
    assert written["max_new_tokens"] == 3
    assert written["task"]["init_args"] == {
        "template": DEFAULT_TEMPLATE,
        "system": None,
        "retelling": DEFAULT_RETELLING,
        "continuation": DEFAULT_CONTINUATION,
        "labels": ["0", "1"],
        "answer": "{label}",
        "thinks": True,
    }
    other = {"class_path": "mine.Task", "init_args": {"a": 1}}
    assert json.loads(card_text(other))["task"] == other  # nothing is imported to write it
    assert (
        json.loads(card_text({"class_path": OWN, "init_args": None}))["task"]["init_args"]["system"] == DEFAULT_SYSTEM
    )


def test_a_wording_in_a_file_is_written_out_and_the_folder_needs_no_other(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text('template: "{prompt} {image_0} {image_1} {{ taste }}"\nlabels: ["A", "B"]\nthinks: false\n')
    text = card_text({"class_path": OWN, "init_args": {"file": str(file), "system": DEFAULT_SYSTEM}})
    file.unlink()
    written = json.loads(text)["task"]["init_args"]
    assert written["template"] == "{prompt} {image_0} {image_1} {{ taste }}"
    assert (written["labels"], written["thinks"], written["retelling"]) == (["A", "B"], False, DEFAULT_RETELLING)
    assert "file" not in written
    task = read_card(text, "here").task
    assert task.labels == ("A", "B")
    assert task.opening("thoughts") == "<answer>"


def test_a_card_may_name_no_other_file():
    content = json.dumps({"task": {"class_path": OWN, "init_args": {"file": "/etc/passwd"}}})
    with pytest.raises(ValueError, match=r"^here: task.init_args: file is '/etc/passwd', but .* no other file is read"):
        read_card(content, "here", imports=True)


# ---- of a run --------------------------------------------------------------------------------------------------------


def of_run(tells_folders: bool = False, base: str = "me/base", policy: Any = None, **options: Any) -> dict[str, Any]:
    content = {"model": {"init_args": {"policy": {"base": base, **(policy or {})}, **options}}, "data": {"train": {}}}
    read: dict[str, Any] = json.loads(
        card_of_run(RunConfig(content, Path("run"), Path("run/config.yaml")), tells_folders=tells_folders)
    )
    return read


def test_a_runs_card_has_its_task_and_sampling():
    task = {"class_path": OWN, "init_args": {"template": TEMPLATE, "system": None}}
    sampling = {"max_new_tokens": 9, "temperature": 0.5, "seed": 3, "stop_malformed": True}
    read = of_run(task=task, sampling=sampling)
    assert read["task"]["init_args"]["template"] == TEMPLATE
    assert (read["max_new_tokens"], read["temperature"]) == (9, 0.5)
    bare = of_run(task=None, sampling=None)
    assert words(read_card(json.dumps(bare), "here").task) == words(PairwisePreference())
    assert (bare["max_new_tokens"], bare["temperature"]) == (512, 1.0)


@pytest.mark.parametrize(
    ("options", "listener", "context"),
    [
        ({}, "me/base", "reasoner"),
        ({"base": "shapes-instruct"}, "shapes-instruct", "reasoner"),
        ({"base": "shapes-blank"}, None, "reasoner"),
        ({"listener": {"class_path": LISTENERS + "ReferenceListener"}}, "me/base", "reasoner"),
        ({"listener": {"class_path": LISTENERS + "RandomListener"}}, "me/base", "reasoner"),
        ({"listener": {"class_path": LISTENERS + "ShuffledListener"}}, "me/base", "reasoner"),
        ({"listener": {"class_path": "mine.Listener"}}, None, "reasoner"),
        ({"listener": {"class_path": LISTENERS + "ModelListener", "init_args": {"model": "a/b"}}}, "a/b", "own"),
        (
            {"listener": {"class_path": "ModelListener", "init_args": {"model": "a/b", "context": "reasoner"}}},
            "a/b",
            "reasoner",
        ),
        ({"policy": {"start": "me/start"}}, "me/base", "reasoner"),
        ({"policy": {"start": "me/start"}, "reference": "start"}, "me/start", "reasoner"),
        ({"reference": "start"}, "me/base", "reasoner"),
        ({"policy": {"start": "me/start", "lora": {"rank": 2}}, "reference": "start"}, None, "reasoner"),
        ({"policy": {"lora": {"rank": 2}}}, "me/base", "reasoner"),
    ],
)
def test_who_listened_in_a_run(options, listener, context):
    read = of_run(**options)
    assert (read["listener"], read["listener_context"]) == (listener, context)


def test_a_folder_of_this_machine_is_told_only_where_it_may_be(tmp_path):
    for base in (str(tmp_path), "./models/mine", "a/b/c"):
        assert of_run(base=base)["listener"] is None
    assert of_run(tells_folders=True, base=str(tmp_path))["listener"] == str(tmp_path)
    assert of_run(tells_folders=True, base="./models/mine")["listener"] == str(Path.cwd() / "models" / "mine")
    assert of_run(tells_folders=True)["listener"] == "me/base"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("shapes", "grpo_listener"),
        ("shapes-instruct", "instruct"),
        ("shapes-warm-start", "warm_start"),
        ("shapes-witness", "witness"),
    ],
)
def test_the_bundled_models_have_the_cards_of_their_runs(name, config):
    path = CONFIGS / f"{config}.yaml"
    expected = card_of_run(RunConfig(yaml.safe_load(path.read_text()), CONFIGS, path), tells_folders=False)
    assert (BUNDLED[name] / CARD).read_text() == expected
