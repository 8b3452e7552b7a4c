"""Scores of a linear head: against transformers' own pass, one message at a time, and under every cut."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from lit_listener.tasks import RewardQuestion
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.passes import cut_passes
from lit_listener.vlm.reward_backbone import LoadedReward, Rater, load_reward
from lit_listener.vlm.sharding import Sharding, shard
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.vlm.tiny import FAMILIES, mixed, write_tiny

QUESTION = RewardQuestion("{prompt}\n{image}\nGood?", system=None)
IMAGES: list[tuple[str, Image.Image]] = [(pair.pair.prompt, image) for pair in mixed(3) for image in pair.images]


def with_head(folder: Path, **options: object) -> LoadedReward:
    """A model whose head is not zero."""
    loaded = load_reward(PolicySpec(str(folder), **options))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        loaded.policy.head.weight.copy_(torch.randn(loaded.policy.head.weight.shape, generator=generator))
    return loaded


def rater(loaded: LoadedReward, **options: object) -> Rater:
    return Rater(loaded.policy, loaded.reader, QUESTION, ImageCache(), **options)  # type: ignore[arg-type]


def plain_score(loaded: LoadedReward, prompt: str, image: Image.Image) -> float:
    """The head on the last hidden state of transformers' own pass over one message."""
    reader, model = loaded.reader, loaded.policy.model
    messages = list(QUESTION.encode(prompt, image).messages)
    text = reader.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    patches = reader.image_processor(images=[image], return_tensors="pt")
    text = text.replace("<|image_pad|>", "<|image_pad|>" * (int(patches["image_grid_thw"].prod()) // 4))
    ids = torch.tensor([reader.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        hidden = model.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            pixel_values=patches["pixel_values"],
            image_grid_thw=patches["image_grid_thw"],
        ).last_hidden_state
    return float(torch.nn.functional.linear(hidden[0, -1], loaded.policy.head.weight))


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedReward:
    return with_head(write_tiny(tmp_path_factory.mktemp("tiny") / "model", family=request.param))


def test_scores_are_the_heads_on_the_last_hidden_state(loaded):
    expected = [plain_score(loaded, *each) for each in IMAGES]
    assert rater(loaded).scores(IMAGES).tolist() == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.5


@pytest.mark.parametrize("tokens", [1, 40, 70])
def test_no_score_depends_on_the_cut(loaded, tokens):
    cuts = []

    def in_passes(work, prompts, completions):
        passes = cut_passes(prompts, completions, tokens)
        cuts.append(len(passes))
        return work(passes)

    whole = rater(loaded).scores(IMAGES)
    torch.testing.assert_close(rater(loaded, passes=in_passes).scores(IMAGES), whole, atol=2e-5, rtol=0)
    assert cuts[0] > 1


def test_a_score_depends_on_the_image_and_on_the_prompt(loaded):
    (prompt, image), (_, other) = IMAGES[:2]
    scores = rater(loaded).scores([(prompt, image), (prompt, other), ("blue", image), (prompt, image)])
    assert scores[0] == pytest.approx(float(scores[3]), abs=1e-5)
    assert min(abs(float(scores[0] - scores[n])) for n in (1, 2)) > 1e-2


def test_a_fresh_head_puts_all_images_level(tiny_folder):
    loaded = load_reward(PolicySpec(str(tiny_folder)))
    assert rater(loaded).scores(IMAGES).tolist() == [0.0] * len(IMAGES)


@pytest.mark.parametrize(("tied", "trains"), [(False, False), (True, True)])
def test_an_output_matrix_that_writes_nothing_does_not_train(tmp_path, tied, trains):
    loaded = load_reward(PolicySpec(str(write_tiny(tmp_path / "model", tie_word_embeddings=tied))))
    model = loaded.policy.model
    assert model.get_output_embeddings().weight.requires_grad == trains
    assert model.get_input_embeddings().weight.requires_grad
    assert loaded.policy.head.weight.requires_grad
    assert not any(p.requires_grad for p in loaded.policy.vision_tower.parameters())


def test_with_adapters_they_and_the_head_train(tiny_folder):
    loaded = load_reward(PolicySpec(str(tiny_folder), lora=LoraSpec(2, 4.0)))
    names = [name for name, p in loaded.policy.named_parameters() if p.requires_grad]
    assert "head.weight" in names
    assert all("lora_" in name for name in names if name != "head.weight")
    assert len(names) > 1


def test_checkpointing_changes_no_gradient(tiny_folder):
    gradients = []
    for checkpointing in (False, True):
        loaded = with_head(tiny_folder, gradient_checkpointing=checkpointing)
        prompts = rater(loaded).asked(IMAGES)
        loaded.policy.train()
        loaded.policy.rate(prompts, loaded.policy.image_features(prompts)).square().sum().backward()
        gradients.append({n: p.grad for n, p in loaded.policy.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-5)


# ---- sharded ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_sharded_scores_are_the_same_and_have_gradients(tiny_folder, mesh):
    plain, sharded = with_head(tiny_folder), with_head(tiny_folder)
    shard(sharded.policy, mesh, Sharding())
    assert isinstance(sharded.policy.head.weight, DTensor)
    given = []
    prompts = rater(plain).asked(IMAGES)
    features = plain.policy.image_features(prompts).detach()  # no other pass of the sharded one gathers its weights
    for loaded in (plain, sharded):
        scores = loaded.policy.rate(prompts, features)
        scores.square().sum().backward()
        gradient = loaded.policy.head.weight.grad
        given.append((scores.detach(), gradient.full_tensor() if isinstance(gradient, DTensor) else gradient))
    torch.testing.assert_close(given[1], given[0], atol=1e-5, rtol=1e-5)
