"""What a run trained, exported: plain transformers and peft give the log-probabilities that training had."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import torch.distributed.checkpoint as dcp
import yaml
from safetensors.torch import load_file
from torch import Tensor

from lit_listener.__main__ import main
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import BUNDLED, LoraSpec, PolicySpec
from tests.training import tiny_runs
from tests.vlm.tiny import TASK, completions, mixed, real_rows, score, write_tiny

PLAIN = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

asked = torch.load(sys.argv[1], weights_only=False)
answers = {}
for name, (folder, base) in asked["models"].items():
    model = AutoModelForImageTextToText.from_pretrained(base or folder, dtype=torch.float32)
    if base:
        model = PeftModel.from_pretrained(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    patches = Qwen2VLImageProcessorPil.from_pretrained(folder)(images=asked["images"], return_tensors="pt")
    text = tokenizer.apply_chat_template(asked["messages"], tokenize=False, add_generation_prompt=True)
    for grid in patches["image_grid_thw"]:
        text = text.replace("<|image_pad|>", "<|slot|>" * (int(grid.prod()) // 4), 1)
    prompt = tokenizer(text.replace("<|slot|>", "<|image_pad|>"))["input_ids"]
    answers[name] = []
    for completion in asked["completions"]:
        ids = torch.tensor([[*prompt, *completion]])
        images = {"pixel_values": patches["pixel_values"], "image_grid_thw": patches["image_grid_thw"]}
        types = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
        with torch.no_grad():
            logits = model.eval()(input_ids=ids, mm_token_type_ids=types, **images).logits[0]
        logits = logits[-len(completion) - 1 : -1]
        logits[:, asked["suppressed"]] = float("-inf")
        logits[:, len(tokenizer):] = float("-inf")
        log_probs = logits.log_softmax(-1)[range(len(completion)), completion]
        answers[name].append(log_probs.tolist())
assert "lit_listener" not in sys.modules
print(json.dumps(answers))
"""
WITHOUT_BITSANDBYTES = """
import sys
sys.modules["bitsandbytes"] = None
from lit_listener.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
LENGTHS = (5, 9, 3)


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Moves every weight far within a few steps."""
    return torch.optim.AdamW(parameters, lr=0.02)


@dataclass(frozen=True)
class Run:
    """A tiny run that has ended."""

    folder: Path
    spec: PolicySpec

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    def restored(self) -> Any:
        """The model of training with the checkpoint's weights, by Lightning's own way; its base is not quantised."""
        module = tiny_runs.grpo(policy=replace(self.spec, quantization=None))
        module.configure_model()
        weights = torch.load(self.checkpoint, weights_only=True)["state_dict"]
        assert module.load_state_dict(weights, strict=False).unexpected_keys == []
        return module


def train(folder: Path, spec: PolicySpec, temperature: float = 1.0) -> Run:
    module = tiny_runs.grpo(policy=spec, optimizer=adam, sampling=Sampling(max_new_tokens=8, temperature=temperature))
    trainer = tiny_runs.trainer(folder, 3)
    trainer.fit(module, tiny_runs.data(4))
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    config = {
        "model": {"class_path": "lit_listener.training.ListenerGRPO", "init_args": {"policy": asdict(spec)}},
        "data": {"train": {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": {"size": 4}}},
        "run_dir": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Run(folder, spec)


def call(*args: object) -> int:
    try:
        return main([str(arg) for arg in args])
    except SystemExit as stopped:
        return int(stopped.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def base(folder: Path) -> str:
    return str(write_tiny(folder / "base"))


@pytest.fixture(scope="module")
def lora(folder: Path, base: str) -> Run:
    return train(folder / "lora", PolicySpec(base, lora=LoraSpec(3, 6.0)))


@pytest.fixture(scope="module")
def full(folder: Path, base: str) -> Run:
    return train(folder / "full", PolicySpec(base, train_vision=True))


@pytest.fixture(scope="module")
def qlora(folder: Path) -> Run:
    spec = PolicySpec("shapes-instruct", lora=LoraSpec(3, 6.0), quantization="nf4")
    return train(folder / "qlora", spec, temperature=4.0)  # so that completions of a group differ


def asked_of(module: Any, models: dict[str, tuple[str, str | None]]) -> dict[str, Any]:
    question = TASK.encode(mixed(1)[0])
    return {
        "models": models,
        "messages": list(question.messages),
        "images": list(question.images),
        "completions": real_rows(completions(module.policy, LENGTHS)),
        "suppressed": module.policy.vocabulary.suppressed_ids.tolist(),
    }


def trained_log_probs(module: Any) -> list[list[float]]:
    prompts = module.reader.encoder.encode([TASK.encode(mixed(1)[0])])
    given = completions(module.policy, LENGTHS)
    with torch.no_grad():
        scores = score(module.policy, prompts, given)
    return [row[:length].tolist() for row, length in zip(scores.log_probs_NT, LENGTHS, strict=True)]


def plain_log_probs(folder: Path, asked: dict[str, Any]) -> dict[str, list[list[float]]]:
    torch.save(asked, folder / "asked.pt")
    command = [sys.executable, "-c", PLAIN, str(folder / "asked.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def apart(one: list[list[float]], other: list[list[float]]) -> float:
    """The largest difference."""
    return max(abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.slow
def test_plain_transformers_and_peft_give_the_trained_log_probs(folder, base, lora, full):
    out = {name: folder / f"out-{name}" for name in ("adapter", "merged", "rounded", "full")}
    assert call("export", "--ckpt", lora.folder, "--output", out["adapter"]) == 0
    assert call("export", "--ckpt", lora.checkpoint, "--output", out["merged"], "--merge", "--dtype", "float32") == 0
    assert call("export", "--ckpt", lora.checkpoint, "--output", out["rounded"], "--merge") == 0
    assert call("export", "--ckpt", full.checkpoint, "--output", out["full"], "--dtype", "float32") == 0
    trained, all_trained = lora.restored(), full.restored()
    models = {name: (str(path), base if name == "adapter" else None) for name, path in out.items()}
    answers = plain_log_probs(folder, asked_of(trained, {**models, "base": (base, None)}))

    expected = trained_log_probs(trained)
    assert apart(answers["adapter"], expected) < 1e-5
    assert apart(answers["merged"], expected) < 1e-5
    assert apart(answers["full"], trained_log_probs(all_trained)) < 1e-5
    assert apart(answers["base"], expected) > 0.1  # an adapter left out would show
    assert apart(answers["base"], answers["full"]) > 0.1
    # weights of 8 bits' precision, computed with in float32 by both
    rounded = trained_log_probs(_merged_and_rounded(trained))
    assert apart(answers["rounded"], rounded) < 1e-5
    assert 1e-4 < apart(rounded, expected) < 1.0


def _merged_and_rounded(module: Any) -> Any:
    """W + alpha / rank * B A in float32, rounded to bfloat16 once, like every other weight."""
    spec = module.policy_spec.lora
    parameters = dict(module.policy.named_parameters())
    with torch.no_grad():
        for name, a_RD in parameters.items():
            if ".lora_A.default." in name:
                b_DR = parameters[name.replace("lora_A", "lora_B")]
                parameters[name.replace("lora_A.default", "base_layer")] += spec.alpha / spec.rank * b_DR @ a_RD
                b_DR.zero_()
        for name, weight in parameters.items():
            if "lora_" not in name:
                weight.copy_(weight.bfloat16())
    return module


@pytest.mark.slow
def test_an_adapter_trained_on_4_bit_weights_goes_on_the_unquantised_base(folder, qlora):
    out = {name: folder / f"out-q-{name}" for name in ("adapter", "merged", "own")}
    command = [sys.executable, "-c", WITHOUT_BITSANDBYTES, "export", "--ckpt", qlora.folder, "--output", out["adapter"]]
    without = subprocess.run(command, capture_output=True, text=True, check=False)
    assert without.returncode == 0, without.stderr
    assert call("export", "--ckpt", qlora.folder, "--output", out["merged"], "--merge", "--dtype", "float32") == 0
    assert call("export", "--ckpt", qlora.folder, "--output", out["own"], "--merge") == 0
    trained = qlora.restored()
    base = str(BUNDLED["shapes-instruct"])
    models = {"adapter": (str(out["adapter"]), base), "merged": (str(out["merged"]), None), "base": (base, None)}
    answers = plain_log_probs(folder, asked_of(trained, models))
    expected = trained_log_probs(trained)
    assert apart(answers["adapter"], expected) < 1e-5
    assert apart(answers["merged"], expected) < 1e-5
    assert apart(answers["base"], expected) > 0.1
    merged, own = (load_file(out[name] / "model.safetensors") for name in ("merged", "own"))
    assert {weight.dtype for weight in own.values()} == {torch.float16}  # as the base is kept
    assert all(torch.equal(own[name], weight.half()) for name, weight in merged.items())
    assert "quantization_config" not in json.loads((out["own"] / "config.json").read_text())


def sharded(run: Run, folder: Path) -> Path:
    """A checkpoint as Lightning's model-parallel strategy writes it, of one process."""
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    moments = checkpoint.pop("optimizer_states")
    dcp.save({"state_dict": checkpoint.pop("state_dict"), "optimizer_0": moments[0]}, checkpoint_id=folder)
    torch.save(checkpoint, folder / "meta.pt")
    return folder


def test_every_kind_of_checkpoint_gives_one_adapter(tmp_path, lora):
    of_shards = tmp_path / "run" / "checkpoints" / "last.ckpt"
    of_shards.parent.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_bytes((lora.folder / "config.yaml").read_bytes())
    sharded(lora, of_shards.with_name("step-3"))
    of_shards.symlink_to("step-3")
    weights: list[dict[str, Tensor]] = []
    for n, given in enumerate((lora.folder, lora.checkpoint, of_shards, tmp_path / "run")):
        assert call("export", "--ckpt", given, "--output", tmp_path / str(n)) == 0
        weights.append(load_file(tmp_path / str(n) / "adapter_model.safetensors"))
    trained = torch.load(lora.checkpoint, weights_only=True)["state_dict"]
    assert len(weights[0]) == len(trained) == 2 * 7 * 2  # two layers of seven linear maps, each with two matrices
    for name, weight in trained.items():
        told = name.replace("policy.model.", "base_model.model.").replace(".default", "")
        assert all(each[told].dtype == torch.float32 and torch.equal(each[told], weight) for each in weights), name
    config = json.loads((tmp_path / "0" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == (lora.spec.base, 3, 6.0)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "0", "1", "2", "3"}  # nothing is left beside them
    assert {path.name for path in (tmp_path / "0").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "judge.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_it_says_what_was_written_and_how_to_load_it(tmp_path, lora, full, capsys):
    assert call("export", "--ckpt", lora.folder, "--output", tmp_path / "a") == 0
    told = capsys.readouterr().out
    assert f"Wrote {tmp_path}/a: a LoRA adapter, float32, 0." in told
    assert f"PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained('{lora.spec.base}'), '" in told
    assert call("export", "--ckpt", full.folder, "--output", tmp_path / "f", "--merge") == 0
    told = capsys.readouterr().out
    assert "--merge: the run trained all weights, so that there was no adapter to merge" in told
    assert "full weights, bfloat16, " in told
    assert {weight.dtype for weight in load_file(tmp_path / "f" / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "f" / "generation_config.json").read_text())["repetition_penalty"] == 1.05


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call an export that must fail with one message; gives the message."""

    def run(*args: object) -> str:
        capsys.readouterr()
        assert call("export", *args) == 1
        return capsys.readouterr().err

    return run


def test_what_is_there_is_never_replaced(tmp_path, lora, refuse):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "is there already; name a new or empty folder" in refuse("--ckpt", lora.folder, "--output", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_checkpoint_that_is_none_is_refused(tmp_path, lora, refuse):
    out = ("--output", tmp_path / "out")
    assert f"there is no {tmp_path}/nowhere; name a checkpoint" in refuse("--ckpt", tmp_path / "nowhere", *out)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "best.ckpt").write_text("no checkpoint")
    message = refuse("--ckpt", tmp_path / "run", *out)
    assert "holds no checkpoints/last.ckpt; name the folder of a run" in message
    assert "checkpoints/ holds ['best.ckpt']" in message
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert f"no config at {tmp_path}/run/config.yaml: a checkpoint is read with the config.yaml of its run" in refuse(
        "--ckpt", best, *out
    )
    config = ("--config", lora.folder / "config.yaml")
    assert "cannot be read as a checkpoint of a training run" in refuse("--ckpt", best, *config, *out)
    assert not (tmp_path / "out").exists()


def changed(run: Run, path: Path, **policy: Any) -> Path:
    """A run's config with another policy."""
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    config["model"]["init_args"]["policy"].update(policy)
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_checkpoint_of_another_config_is_refused(tmp_path, lora, full, refuse):
    all_weights = len(torch.load(full.checkpoint, weights_only=True)["state_dict"])
    of_vision = sum("visual" in name for name in torch.load(full.checkpoint, weights_only=True)["state_dict"])
    frozen_tower = changed(full, tmp_path / "frozen.yaml", train_vision=False)
    wider = changed(lora, tmp_path / "wider.yaml", lora={"rank": 5, "alpha": 6.0})
    cases = [
        (
            lora,
            full.folder / "config.yaml",
            f"it lacks {all_weights} of them, for instance policy.model.lm_head.weight",
        ),
        (full, frozen_tower, f"it has also {of_vision} of them, for instance policy.model.model.visual.blocks.0."),
        (lora, wider, "in the shape [3, 32], the config's model in [5, 32]; name the config of its own run"),
    ]
    for run, config, message in cases:
        assert message in refuse("--ckpt", run.folder, "--config", config, "--output", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"frozen.yaml", "wider.yaml"}


def test_an_adapter_is_refused_another_number_format(tmp_path, lora, refuse):
    told = refuse("--ckpt", lora.folder, "--output", tmp_path / "out", "--dtype", "float16")
    assert "--dtype float16: adapters are saved in float32; it goes with --merge" in told


def test_a_failing_export_leaves_nothing(tmp_path, lora, refuse, monkeypatch):
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lit_listener.training.exporting.export.write_adapter", fail)
    assert "disk full" in refuse("--ckpt", lora.folder, "--output", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Hub:
    """In place of the Hub's client, which the tests have no network for."""

    calls: list[tuple[Any, ...]]
    down = False

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
        Hub.calls.append(("create", repo, private, exist_ok))
        return f"https://hub/{repo}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        if Hub.down:
            raise huggingface_hub.errors.OfflineModeIsEnabled("no network")
        Hub.calls.append(("upload", repo_id, sorted(path.name for path in Path(folder_path).iterdir())))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    monkeypatch.setattr("lit_listener.training.exporting.export.HfApi", Hub)
    monkeypatch.setattr("lit_listener.training.exporting.export.get_token", lambda: "token")
    Hub.calls, Hub.down = [], False
    return Hub


def test_the_finished_folder_is_pushed_as_a_private_repository(tmp_path, full, hub, capsys):
    assert call("export", "--ckpt", full.folder, "--output", tmp_path / "out", "--push_to_hub", "me/judge") == 0
    assert "Uploaded: https://hub/me/judge" in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert hub.calls == [("create", "me/judge", True, True), ("upload", "me/judge", files)]
    assert 'from_pretrained("me/judge", dtype="auto")' in (tmp_path / "out" / "README.md").read_text()


def test_a_failed_upload_leaves_the_folder(tmp_path, full, hub, refuse):
    hub.down = True
    told = refuse("--ckpt", full.folder, "--output", tmp_path / "out", "--push_to_hub", "me/judge")
    assert f"me/judge could not be uploaded (no network); {tmp_path}/out is whole: try again with hf upload" in told
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_what_cannot_be_pushed_is_refused_before_the_work(tmp_path, lora, hub, refuse, monkeypatch):
    options = ("--ckpt", lora.folder, "--output", tmp_path / "out", "--push_to_hub")
    assert "is on this machine alone, so that nobody else could load it" in refuse(*options, "me/judge")
    assert "a/b/c" in refuse(*options, "a/b/c")
    monkeypatch.setattr("lit_listener.training.exporting.export.get_token", lambda: None)
    assert "log in with hf auth login, or set HF_TOKEN" in refuse(*options, "me/judge", "--merge")
    assert list(tmp_path.iterdir()) == []
    assert hub.calls == []


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lit_listener.__main__._run", stop)
    assert call("export", "--ckpt", "a") == 130
    assert capsys.readouterr().err == "interrupted\n"
