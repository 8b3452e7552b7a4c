"""Which weights train, what stands frozen beside them, and that a saved model is the model. Adapters: see beside."""

import json
import logging
import shutil

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from lit_listener.vlm.blueprint import write_blank
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.saving import save_model
from lit_listener.vlm.specs import BUNDLED, PolicySpec
from tests.vlm.tiny import TASK, completions, letters_tokenizer, mixed, plain_inputs, score, write_tiny


@pytest.fixture(scope="module")
def start_folder(tmp_path_factory):
    """Other weights throughout."""
    return write_tiny(tmp_path_factory.mktemp("start") / "model", seed=1)


@pytest.fixture(scope="module")
def relatives_folder(tiny_folder, tmp_path_factory):
    """Other weights in the language model alone, as after training with the vision tower frozen."""
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    folder = tmp_path_factory.mktemp("relative") / "model"
    with torch.no_grad():
        for parameter in backbone.language_model.parameters():
            parameter.mul_(1.1)
    save_model(backbone, reader, folder, "float32")
    return folder


def log_probs(backbone, reader, pairs=None):
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs or mixed(2)])
    return score(backbone, prompts, completions(backbone, [4, 2, 3, 5])).log_probs_NT


def reference_log_probs(models):
    with models.reference.active() as backbone:
        return log_probs(backbone, models.reader)


def of_folder(folder):
    backbone, reader = load_backbone(str(folder), PolicySpec(str(folder)))
    with torch.no_grad():
        return log_probs(backbone, reader)


@pytest.mark.parametrize("reference", ["base", "start"])
def test_the_reference_is_what_was_asked_for(tiny_folder, start_folder, reference):
    models = load(PolicySpec(str(tiny_folder), start=str(start_folder)), reference)
    base, start = of_folder(tiny_folder), of_folder(start_folder)
    assert (base - start).abs().max() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(log_probs(models.policy, models.reader), start, atol=1e-6, rtol=0)
        expected = {"base": base, "start": start}[reference]
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-6, rtol=0)
        for parameter in models.policy.parameters():
            if parameter.requires_grad:
                parameter.mul_(0.5)
        assert (log_probs(models.policy, models.reader) - start).abs().max() > 0.1
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-6, rtol=0)  # it does not move


def test_the_copy_is_frozen_and_scored_without_gradients(tiny_folder):
    models = load(PolicySpec(str(tiny_folder)))
    assert not any(parameter.requires_grad for parameter in models.reference.parameters())
    assert not reference_log_probs(models).requires_grad
    trained = {name for name, parameter in models.policy.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in models.policy.named_parameters() if ".visual." not in name}
    log_probs(models.policy, models.reader).sum().backward()
    assert all(parameter.grad is None for parameter in models.reference.parameters())


def test_the_reference_listens_in_eval_mode_and_restores_the_mode(tiny_folder):
    models = load(PolicySpec(str(tiny_folder)))
    nn.ModuleList([models.policy, models.reference]).train()
    with models.reference.active() as backbone:
        assert not any(module.training for module in backbone.modules())
    assert all(module.training for module in models.policy.modules())


@pytest.mark.parametrize(
    ("relative", "train_vision", "shared"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_vision_tower_is_shared_if_frozen_and_equal(
    tiny_folder, start_folder, relatives_folder, relative, train_vision, shared
):
    start = relatives_folder if relative else start_folder
    models = load(PolicySpec(str(tiny_folder), start=str(start), train_vision=train_vision))
    assert models.shares_vision is shared
    frozen = {id(parameter) for parameter in models.reference.parameters()}
    assert shared == (frozen >= {id(parameter) for parameter in models.policy.vision_tower.parameters()})
    assert {parameter.requires_grad for parameter in models.policy.vision_tower.parameters()} == {train_vision}


def test_nothing_drops_out(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_dropout"] = 0.5
    (folder / "config.json").write_text(json.dumps(config))
    models = load(PolicySpec(str(folder)))
    evaluated = log_probs(models.policy, models.reader)
    models.policy.train()
    assert torch.equal(log_probs(models.policy, models.reader), evaluated)


def test_another_vocabulary_cannot_be_the_reference(tiny_folder, tmp_path):
    folder = write_tiny(tmp_path / "letters", tokenizer=letters_tokenizer())
    with pytest.raises(ValueError, match=r"policy\.start: .*letters' and the base .* have different vocabularies"):
        load(PolicySpec(str(tiny_folder), start=str(folder)))
    assert load(PolicySpec(str(tiny_folder), start=str(folder)), "start").policy.vocabulary.size < 300


def test_a_missing_folder_is_named(tiny_folder):
    with pytest.raises(FileNotFoundError, match="no model folder at '/nowhere/model'"):
        load(PolicySpec("/nowhere/model"))
    with pytest.raises(FileNotFoundError, match="no model folder at '/nowhere/start'"):
        load(PolicySpec(str(tiny_folder), start="/nowhere/start"))


def test_an_unsupported_family_is_refused_before_its_weights_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    with pytest.raises(ValueError, match=r"model family 'llava' is not supported; expected one of .*'qwen2_5_vl'"):
        load(PolicySpec(str(tmp_path)))


def test_a_blank_model_is_made_by_seed(tmp_path, monkeypatch):
    write_blank(tmp_path / "blank", TASK)
    monkeypatch.setitem(BUNDLED, "shapes-blank", tmp_path / "blank")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (load(PolicySpec("shapes-blank", init_seed=seed)).policy for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.model.lm_head.weight, again.model.lm_head.weight)
    assert not torch.equal(first.model.lm_head.weight, other.model.lm_head.weight)
    assert len(first.vocabulary.end_ids) == 2


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}])
@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_is_the_model(tmp_path, options, tied):
    origin = write_tiny(tmp_path / "origin", seed=3, tie_word_embeddings=tied)
    models = load(PolicySpec(str(origin), **options))
    folder = tmp_path / "saved"
    save_model(models.policy, models.reader, folder, "float32")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    inputs = plain_inputs(models.reader, mixed(1)[0], [5, 6])
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, models.policy.model(**inputs).logits)
    assert tokenizer.get_vocab() == models.reader.tokenizer.get_vocab()
    assert tokenizer.chat_template == models.reader.tokenizer.chat_template
    assert processor.to_dict() == models.reader.image_processor.to_dict()
    assert model.generation_config.eos_token_id == list(models.policy.vocabulary.end_ids)
    torch.testing.assert_close(of_folder(folder), of_folder(origin), atol=0, rtol=0)


def test_saving_leaves_the_model_as_it_is_and_halves_its_size(tiny_folder, tmp_path):
    models = load(PolicySpec(str(tiny_folder)))
    save_model(models.policy, models.reader, tmp_path / "half")
    assert {parameter.dtype for parameter in models.policy.parameters()} == {torch.float32}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "half").dtype == torch.float16
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "half", tiny_folder)]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_folder_is_written_whole_or_not_at_all(tiny_folder, tmp_path, monkeypatch):
    models = load(PolicySpec(str(tiny_folder)))
    folder = tmp_path / "run" / "model"

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(models.reader.image_processor, "save_pretrained", fail)
        with pytest.raises(OSError, match="disk full"):
            save_model(models.policy, models.reader, folder)
        assert not list(tmp_path.glob("run/*"))
    save_model(models.policy, models.reader, folder, "float32")
    before = of_folder(folder)
    (folder / "stale.txt").write_text("of the model before")
    with torch.no_grad():
        models.policy.model.lm_head.weight.mul_(2)
    with monkeypatch.context() as patch:
        patch.setattr(models.reader.image_processor, "save_pretrained", fail)
        with pytest.raises(OSError, match="disk full"):
            save_model(models.policy, models.reader, folder, "float32")
    assert torch.equal(of_folder(folder), before)
    save_model(models.policy, models.reader, folder, "float32")
    assert (of_folder(folder) - before).abs().max() > 0.1
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]  # nothing is left beside it


def test_a_folder_of_other_things_is_never_replaced(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="is there and holds no model: name a new or empty folder"):
        save_model(*tiny, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_one_warning_of_bitsandbytes_is_silent_and_others_are_not():
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")

    def passes(message):
        return bool(logger.filter(logger.makeRecord(logger.name, logging.WARNING, "", 0, message, ("no",), None)))

    assert not passes("Failed to load CPU gemm_4bit_forward from kernels-community: %s.")
    assert passes("Something else failed: %s")


def test_images_can_be_bounded(tiny_folder):
    """112 x 112 pixels are 16 tokens of 28 x 28; bounded to 56 x 56 they are 4; the bound is saved with the model."""
    image = Image.new("RGB", (112, 112))
    tokens = {}
    for bound in (None, 56 * 56):
        _, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder), max_pixels=bound))
        grid = reader.image_processor(images=[image], return_tensors="pt")["image_grid_thw"]
        tokens[bound] = int(grid.prod()) // 4
        assert reader.image_processor.to_dict()["size"]["longest_edge"] == (bound or 112 * 112)
    assert tokens == {None: 16, 56 * 56: 4}


def test_a_bound_below_the_smallest_size_is_refused(tiny_folder):
    with pytest.raises(ValueError, match=r"policy.max_pixels: 100 is below the least that .* scales images up to, 784"):
        load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder), max_pixels=100))


def test_an_empty_backbone_has_the_same_parameters_and_no_weights(tiny_folder):
    spec = PolicySpec(str(tiny_folder))
    full, _ = load_backbone(str(tiny_folder), spec)
    empty, _ = load_backbone(str(tiny_folder), spec, empty=True)
    assert [(n, p.shape, p.dtype) for n, p in empty.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in full.named_parameters()
    ]
    assert all(p.is_meta for p in empty.parameters())
    assert empty.vocabulary.end_ids == full.vocabulary.end_ids
