"""Whatever a judge is loaded from, it gives the numbers of the model that was trained; what is no judge is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
import yaml
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from lit_listener import Judge
from lit_listener.__main__ import main
from lit_listener.judging.loading import Loaded, Wanted, find_device, find_dtype, load_judge
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.specs import BUNDLED
from tests.judging.trained_runs import LENGTH, TEMPERATURE, TEMPLATE, Run, apart, compared, fit

INSTRUCT = str(BUNDLED["shapes-instruct"])


class OthersTask(PairwisePreference):
    """A task of somebody's own."""


@dataclass(frozen=True)
class Trained:
    """A run, and what it exported."""

    run: Run
    out: Path


def export(run: Run, output: Path, *options: str) -> str:
    assert main(["export", "--ckpt", str(run.folder), "--output", str(output), *options]) in (None, 0)
    return str(output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="module")
def full(folder: Path) -> Run:
    return fit(folder / "full", "ListenerGRPO", policy={"start": "shapes-warm-start"}, group_size=2, export=True)


@pytest.fixture(scope="module")
def lora(folder: Path) -> Run:
    policy = {"lora": {"rank": 4, "alpha": 32.0}, "train_vision": True}
    return fit(folder / "lora", "TraceSFT", policy=policy)


@pytest.fixture(scope="module")
def adapter(folder: Path, lora: Run) -> str:
    return export(lora, folder / "adapter")


@pytest.fixture(scope="module")
def base() -> Judge:
    return Judge.load("shapes-instruct", task=PairwisePreference(TEMPLATE, None), max_new_tokens=LENGTH)


def loaded(model: str | Path, **options: Any) -> Loaded:
    return load_judge(Wanted(str(model), **options))


def copied(run: Run, to: Path, **changes: Any) -> Run:
    """A run with another config."""
    shutil.copytree(run.folder, to)
    config = yaml.safe_load((to / "config.yaml").read_text())
    config["model"]["init_args"].update(changes)
    (to / "config.yaml").write_text(yaml.safe_dump(config))
    return Run(to)


# ---- all weights trained ---------------------------------------------------------------------------------------------


def test_a_run_that_trained_all_weights_judges_as_its_module(folder, full, base):
    expected = compared(full.judge(), listen=True)
    assert expected.listener_p_a is not None
    assert abs(expected.p_a - compared(base).p_a) > 0.01
    exported = export(full, folder / "exported", "--dtype", "float32")
    for model in (full.folder, full.checkpoint, full.folder / "model", exported):
        judge = Judge.load(model)
        assert apart(compared(judge, listen=True), expected) < 1e-5, model
        sampling = judge._thinker.sampling
        assert (sampling.max_new_tokens, sampling.temperature) == (LENGTH, TEMPERATURE)


def test_the_reference_of_a_run_may_be_its_start(tmp_path, full):
    run = copied(full, tmp_path / "run", reference="start")
    found = compared(Judge.load(run.folder), listen=True)
    named = compared(Judge.load(full.folder, listener="shapes-warm-start"), listen=True)
    assert apart(found, named) == 0
    assert abs(found.listener_p_a - compared(Judge.load(full.folder), listen=True).listener_p_a) > 1e-3


# ---- adapters --------------------------------------------------------------------------------------------------------


def test_every_form_of_an_adapter_judges_as_its_module(folder, lora, adapter, base):
    expected = compared(lora.judge(), listen=True)
    assert abs(expected.p_a - compared(base, listen=False).p_a) > 0.01  # an adapter left out would show
    shards = folder / "shards" / "checkpoints" / "last.ckpt"
    shards.parent.mkdir(parents=True)
    shutil.copy(lora.folder / "config.yaml", folder / "shards")
    rest = torch.load(lora.checkpoint, weights_only=True)
    dcp.save({"state_dict": rest.pop("state_dict")}, checkpoint_id=shards)
    torch.save(rest, shards / "meta.pt")
    merged = export(lora, folder / "merged", "--merge", "--dtype", "float32")
    judges = {
        "run": Judge.load(lora.folder),
        "checkpoint": Judge.load(lora.checkpoint),
        "shards": Judge.load(shards),
        "adapter": Judge.load(adapter),
        "named": Judge.load("shapes-instruct", adapter=adapter),
        "merged": Judge.load(merged),
    }
    for name, judge in judges.items():
        assert apart(compared(judge, listen=True), expected) < 1e-4, name


def test_with_the_adapter_off_the_base_listens(lora, adapter):
    """The vision tower is adapted as well: the base has to see for itself."""
    alone = loaded("shapes-witness", task=PairwisePreference(TEMPLATE, None), listener="shapes-instruct")
    for model in (adapter, lora.folder):
        ear = loaded(model).make_ear()
        assert ear.reference.copy is None  # no second copy
        assert list(ear.listener.parameters()) == []
        judge = Judge.load(model)
        heard = compared(judge, listen=True)
        assert abs(heard.listener_p_a - heard.p_a) > 1e-3
        by_itself = Judge(Loaded(judge._thinker, alone.make_ear), "the base, loaded a second time")
        assert apart(heard, compared(by_itself, listen=True)) < 1e-5
        assert compared(judge).p_a == heard.p_a  # and the adapter is on again


@pytest.mark.parametrize("named", ["shapes-instruct", INSTRUCT])
def test_naming_the_base_as_listener_loads_nothing_more(adapter, lora, named):
    for model in (adapter, lora.folder):
        assert list(loaded(model, listener=named).make_ear().listener.parameters()) == []


def test_an_adapter_without_a_card_is_heard_by_its_base(tmp_path, adapter):
    bare = shutil.copytree(adapter, tmp_path / "bare")
    (bare / "judge.json").unlink()
    (bare / "preprocessor_config.json").unlink()
    task = PairwisePreference(TEMPLATE, None)
    judge = Judge.load(bare, task=task, max_new_tokens=LENGTH, temperature=TEMPERATURE)
    assert apart(compared(judge, listen=True), compared(Judge.load(adapter), listen=True)) == 0


def test_an_adapter_sees_images_in_the_size_of_its_training(tmp_path, adapter):
    changed = shutil.copytree(adapter, tmp_path / "changed")
    settings = json.loads((changed / "preprocessor_config.json").read_text())
    settings["size"]["longest_edge"] = 28 * 28 * 9
    (changed / "preprocessor_config.json").write_text(json.dumps(settings))

    def bound(**options: Any) -> int:
        return loaded(changed, **options).thinker.reader.image_processor.size["longest_edge"]

    assert bound() == 28 * 28 * 9
    assert bound(max_pixels=28 * 28 * 8) == 28 * 28 * 8


def test_four_bits_judge_as_the_module_on_four_bits(lora, adapter):
    expected = compared(lora.judge(quantization="nf4"), listen=True)
    for model in (adapter, lora.folder):
        judge = Judge.load(model, load_in_4bit=True)
        assert any(isinstance(module, Linear4bit) for module in judge._thinker.policy.modules())
        assert apart(compared(judge, listen=True), expected) < 1e-5
    assert abs(compared(Judge.load(adapter)).p_a - expected.p_a) > 1e-4
    whole = loaded("shapes", load_in_4bit=True).thinker.policy
    assert any(isinstance(module, Linear4bit) for module in whole.modules())


# ---- the hub ---------------------------------------------------------------------------------------------------------

ON_THE_HUB = """
import json, sys, warnings
from lit_listener import Judge
from tests.judging.trained_runs import compared
answers = {}
for name, options in json.loads(sys.argv[1]).items():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = compared(Judge.load(**options), listen=True)
            answers[name] = [found.p_a, found.listener_p_a]
        except (OSError, ValueError) as error:
            answers[name] = [type(error).__name__, str(error)]
    answers[name].append([str(each.message) for each in told if "judge.json" in str(each.message)])
print(json.dumps(answers))
"""


def in_cache(home: Path, repo: str, source: str | Path) -> Path:
    """A folder as the hub's client keeps a repository that it has fetched."""
    repository = home / "hub" / f"models--{repo.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    return Path(shutil.copytree(source, repository / "snapshots" / "c0ffee"))


@pytest.mark.slow
def test_names_on_the_hub(tmp_path, full, adapter):
    """The hub's own client, offline, on a cache as it leaves it."""
    in_cache(tmp_path, "me/judge", full.folder / "model")
    in_cache(tmp_path, "me/base", INSTRUCT)
    of_base = in_cache(tmp_path, "me/adapter", adapter)
    config = json.loads((of_base / "adapter_config.json").read_text())
    (of_base / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "me/base"}))
    card = json.loads((of_base / "judge.json").read_text())
    (of_base / "judge.json").write_text(json.dumps({**card, "listener": "me/base"}))
    bare = in_cache(tmp_path, "me/bare", full.folder / "model")
    (bare / "judge.json").unlink()
    asked = {
        "judge": {"model": "me/judge"},
        "adapter": {"model": "me/adapter"},
        "named": {"model": INSTRUCT, "adapter": "me/adapter"},
        "bare": {"model": "me/bare", "listener": "me/base", "max_new_tokens": 4},
        "gone": {"model": "alexgambashidze/qwen2.5vl_image_preference_reasoner"},
        "gone adapter": {"model": INSTRUCT, "adapter": "me/gone"},
    }
    own = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ON_THE_HUB, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **own})
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    here = {"judge": full.folder / "model", "adapter": adapter}
    for name, folder in {**here, "named": adapter}.items():
        expected = compared(Judge.load(folder), listen=True)
        assert answers[name][:2] == pytest.approx([expected.p_a, expected.listener_p_a], abs=1e-6), name
        assert answers[name][2] == []
    assert 0 <= answers["bare"][0] <= 1
    assert answers["bare"][2] == ["me/bare: the hub cannot be reached to look for its judge.json; going on without"]
    for name, repo in (("gone", "alexgambashidze/qwen2.5vl_image_preference_reasoner"), ("gone adapter", "me/gone")):
        assert answers[name][0] == "FileNotFoundError"
        assert f"'{repo}' is no folder here, and cannot be had from the Hugging Face hub (" in answers[name][1]


# ---- the run's own words ---------------------------------------------------------------------------------------------


def test_a_runs_own_listener_listens(tmp_path, lora):
    listener = {
        "class_path": "lit_listener.vlm.listeners.ModelListener",
        "init_args": {"model": "shapes-witness", "context": "own"},
    }
    run = copied(lora, tmp_path / "run", listener=listener)
    ear = loaded(run.folder).make_ear()
    assert (ear.listener.name, ear.listener.context, ear.reference) == ("shapes-witness", "own", None)
    heard = compared(Judge.load(run.folder), listen=True)
    exported = compared(Judge.load(export(run, tmp_path / "out")), listen=True)
    assert apart(exported, heard) < 1e-5
    assert abs(heard.listener_p_a - compared(Judge.load(lora.folder), listen=True).listener_p_a) > 1e-3


def test_a_control_is_heard_as_in_evaluation(tmp_path, lora):
    listener = {"class_path": "lit_listener.vlm.listeners.RandomListener"}
    run = copied(lora, tmp_path / "run", listener=listener)
    assert apart(compared(Judge.load(run.folder), listen=True), compared(Judge.load(lora.folder), listen=True)) == 0


def test_where_nobody_listened_nobody_does_unless_named(tmp_path, lora):
    run = copied(lora, tmp_path / "run", listener={"class_path": "lit_listener.vlm.listeners.NoListener"})
    assert loaded(run.folder).make_ear is None
    assert loaded(run.folder, listener="shapes-witness").make_ear is not None


def test_new_weights_have_nothing_to_say(tmp_path):
    run = fit(tmp_path / "run", "TraceSFT", policy={"base": "shapes-blank"})
    assert loaded(run.folder).make_ear is None
    card = json.loads(Path(export(run, tmp_path / "out"), "judge.json").read_text())
    assert card["listener"] is None


def test_the_task_of_ones_own_run_is_imported_and_that_of_a_folder_is_not(tmp_path, lora):
    task = {"class_path": f"{__name__}.OthersTask", "init_args": {"system": None, "template": TEMPLATE}}
    run = copied(lora, tmp_path / "run", task=task)
    assert type(loaded(run.folder).thinker.task).__name__ == "OthersTask"
    out = export(run, tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"judge\.json: task: .*OthersTask is no task of lit_listener\.tasks, and noth"
    ):
        Judge.load(out)
    assert type(loaded(out, trust_remote_code=True).thinker.task).__name__ == "OthersTask"
    own = PairwisePreference(TEMPLATE, None)
    assert loaded(out, task=own).thinker.task is own
    assert loaded(run.folder, task=own).thinker.task is own


def test_what_is_asked_for_goes_before_what_was_trained(full):
    thinker = loaded(full.folder, max_new_tokens=3, temperature=0.5, dtype="bfloat16").thinker
    assert (thinker.sampling.max_new_tokens, thinker.sampling.temperature) == (3, 0.5)
    assert thinker.policy.model.dtype == torch.bfloat16


# ---- what is no judge ------------------------------------------------------------------------------------------------


def refused(model: str | Path, message: str, error: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(error, match=message):
        Judge.load(model, **options)


def test_things_that_are_no_judge(tmp_path, lora):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"is no judge: it holds no config\.json; expected a model folder .* an adapter")
    refused(tmp_path / "nowhere", "no model folder at", FileNotFoundError)
    refused("runs/nowhere.ckpt", r"there is no checkpoint runs/nowhere\.ckpt", FileNotFoundError)
    refused(tmp_path / "a.txt", "no model folder at", FileNotFoundError)
    (tmp_path / "a.txt").write_text("words")
    refused(tmp_path / "a.txt", "no config at .*config.yaml: a checkpoint is read with the config", FileNotFoundError)
    AutoConfig.for_model("qwen2").save_pretrained(tmp_path / "text")
    refused(tmp_path / "text", r"text: model family 'qwen2' is not supported; expected one of")
    AutoConfig.for_model("qwen2_5_vl").save_pretrained(tmp_path / "bare")
    refused(tmp_path / "bare", r"is no whole model folder \(.*; expected config\.json, weights as safetensors")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("trainer: {}")
    refused(tmp_path / "run", r"holds no checkpoints/last\.ckpt", FileNotFoundError)
    (tmp_path / "run" / "checkpoints").mkdir()
    shutil.copy(lora.checkpoint, tmp_path / "run" / "checkpoints" / "last.ckpt")
    refused(tmp_path / "run", r"config\.yaml is no config of a run that trains a reasoner")


def test_a_checkpoint_of_another_config(tmp_path, lora, full):
    run = copied(lora, tmp_path / "run")
    shutil.copy(full.folder / "config.yaml", run.folder)
    refused(run.folder, r"it lacks \d+ of them, for instance policy.* \(.*last\.ckpt with .*config\.yaml\)")


def test_adapters_that_cannot_be_loaded(tmp_path, adapter):
    def changed(name: str, **settings: Any) -> Path:
        copy = shutil.copytree(adapter, tmp_path / name)
        config = json.loads((copy / "adapter_config.json").read_text())
        (copy / "adapter_config.json").write_text(json.dumps({**config, **settings}))
        return copy

    gone = changed("gone", base_model_name_or_path="/models/gone")
    way_out = r"; name it yourself: Judge\.load\(BASE, adapter='.*/gone'\)"
    refused(
        gone,
        "the base of the adapter .*gone cannot be loaded: no model folder at '/models/gone'.*" + way_out,
        FileNotFoundError,
    )
    assert (
        apart(
            compared(Judge.load("shapes-instruct", adapter=gone), listen=True),
            compared(Judge.load(adapter), listen=True),
        )
        == 0
    )
    refused(changed("alone", base_model_name_or_path=None), r"alone names no base; name it: Judge\.load\(BASE, ada")
    weights = load_file(Path(adapter, "adapter_model.safetensors"))
    other = changed("other")
    save_file(
        {name.replace("layers.0.", "layers.9."): w for name, w in weights.items()}, other / "adapter_model.safetensors"
    )
    refused(other, "lacks weights of layers that it names")
    refused("shapes", "holds no adapter_config.json: expected a LoRA adapter", FileNotFoundError, adapter=INSTRUCT)


# ---- options ---------------------------------------------------------------------------------------------------------


def test_options_that_contradict_what_is_loaded(lora, full, adapter):
    refused(lora.folder, "adapter: .*lora is a checkpoint itself; name the base", adapter=adapter)
    refused(adapter, "adapter: .*adapter is an adapter itself; name the base", adapter=adapter)
    refused(full.folder, "load_in_4bit: .* trained all weights, .* export it first", load_in_4bit=True)
    refused(
        "shapes", "load_in_4bit: on a CPU .* float32 or bfloat16, got dtype float16", load_in_4bit=True, dtype="float16"
    )
    refused("shapes-blank", "load_in_4bit: shapes-blank has no weights on disk", load_in_4bit=True)
    refused("shapes", "no model folder at", FileNotFoundError, listener="/models/gone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: expected at least 1, got 0"),
        ({"max_pixels": 0}, "max_pixels: expected at least 1, got 0"),
        ({"temperature": 0.0}, "temperature: expected a finite number above 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature: expected a finite number above 0, got inf"),
        ({"dtype": "int8"}, r"dtype: expected auto or one of \('float32', 'bfloat16', 'float16'\), got 'int8'"),
        ({"device": "tpu"}, r"device: expected one of .* got 'tpu'; this machine has \['cpu'"),
    ],
)
def test_options_out_of_range(options, message):
    refused("shapes", message, **options)


def test_devices(monkeypatch):
    def machine(*, gpus: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    machine()
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "mps", "gpu", ""):
        with pytest.raises(ValueError, match=r"this machine has \['cpu'\]"):
            find_device(name)
    machine(mps=True)
    assert find_device("auto") == find_device("mps") == torch.device("mps")
    machine(gpus=2, mps=True)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"cuda:2 is not there: this machine has \['cpu', 'cuda:0', 'cuda:1', 'mps'\]"):
        find_device("cuda:2")
    assert [find_dtype("auto", torch.device(kind)) for kind in ("cpu", "cuda", "mps")] == ["float32"] + ["bfloat16"] * 2
    assert find_dtype("float16", torch.device("cpu")) == "float16"
    machine(mps=True)
    refused("shapes", "load_in_4bit: 4-bit weights are computed on CUDA and CPU; drop it", load_in_4bit=True)
