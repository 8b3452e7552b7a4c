"""Reward functions in the shape that flow_grpo calls."""

import numpy as np
import pytest
import torch

from tests.judging.test_judge import four  # noqa: F401  # a fixture


def nchw(images) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 for image in images])


@pytest.fixture(scope="module")
def batch(pairs):
    """Two prompts, their images mixed."""
    one, other = pairs[0], pairs[1]
    images = [one.image_a, other.image_a, one.image_b, other.image_b, pairs[2].image_a]
    return images, [one.prompt, other.prompt, one.prompt, other.prompt, one.prompt]


def test_the_images_of_a_prompt_are_ranked_together(judge, batch):
    images, prompts = batch
    scores, info = judge.reward_fn()(nchw(images), prompts, [{}] * 5)
    first = judge.score(prompts[0], [images[0], images[2], images[4]])
    second = judge.score(prompts[1], [images[1], images[3]])
    assert scores == pytest.approx([first[0], second[0], first[1], second[1], first[2]], abs=1e-5)
    assert info == {}


def test_every_form_of_a_batch_has_the_same_rewards(judge, batch):
    images, prompts = batch
    reward = judge.reward_fn()
    nhwc = np.stack([np.asarray(image) for image in images])
    as_tensor, as_array, as_list = (reward(form, prompts, None)[0] for form in (nchw(images), nhwc, images))
    assert as_tensor == as_array == as_list
    assert all(isinstance(score, float) for score in as_tensor)


def test_against_named_anchors_processes_agree(judge, pairs, batch):
    images, prompts = batch
    anchors = {prompt: pairs[5].image_a for prompt in prompts}
    reward = judge.reward_fn(anchor=anchors.__getitem__)
    whole, _ = reward(images, prompts, None)
    here, there = reward(images[:2], prompts[:2], None)[0], reward(images[2:], prompts[2:], None)[0]
    assert whole == pytest.approx([*here, *there], abs=1e-5)


@pytest.mark.parametrize(
    ("count", "prompts", "message"),
    [
        (2, ["p"], "expected one prompt for each image, got 1 prompts for 2 images"),
        (2, ["p"] * 3, "got 3 prompts for 2 images"),
        (2, ["p", "q"], "2 prompts have one image in this batch, for instance 'p'"),
    ],
)
def test_prompts_go_with_images(judge, batch, count, prompts, message):
    with pytest.raises(ValueError, match=message):
        judge.reward_fn()(batch[0][:count], prompts, None)


def test_a_single_image_is_no_batch(judge, batch):
    with pytest.raises(ValueError, match=r"expected a batch of images, \[N, 3, height, width\] .* got \[3, 112, 112\]"):
        judge.reward_fn()(nchw(batch[0])[0], ["p"], None)


def test_what_is_often_mistaken_is_told(judge, batch):
    with pytest.raises(TypeError, match=r"prompts: expected a list, .* give \[prompt\] \* 2"):
        judge.reward_fn()(batch[0][:2], "a cat", None)
    with pytest.raises(
        ValueError, match=r"expected a batch of images, \[N, 3, height, width\] .* got \[2, 112, 112, 3\]"
    ):
        judge.reward_fn()(nchw(batch[0][:2]).permute(0, 2, 3, 1), ["p", "p"], None)
    with pytest.raises(ValueError, match=r"anchor: the callable raised KeyError for the prompt 'q': 'q'"):
        judge.reward_fn(anchor={}.__getitem__)(batch[0][:2], ["q", "q"], None)


def test_an_empty_batch_has_no_rewards(judge):
    assert judge.reward_fn()([], [], None) == ([], {})


def test_the_model_stays_loaded(judge, batch, monkeypatch):
    images, prompts = batch
    reward = judge.reward_fn()
    monkeypatch.setattr("lit_listener.judging.judge.load_judge", lambda *_: pytest.fail("loaded again"))
    for _ in range(2):
        reward(images, prompts, None)
