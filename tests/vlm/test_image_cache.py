"""Features kept from batch to batch: the same bits, within the bound, and each picture encoded once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lit_listener.data.shown import ShownPair
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import PromptBatch, Reader
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import FAMILIES, TASK, mixed, shown, write_tiny

ROOM = 1.0
"""MiB; a row of features takes 32 x 4 bytes."""


class Counted:
    """A backbone's image passes: how many images each encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, backbone: Backbone) -> None:
        self.encoded: list[int] = []
        encode = backbone.image_features

        def counting(prompts: PromptBatch) -> Tensor:
            self.encoded.append(len(prompts.image_grid_I3))
            return encode(prompts)

        monkeypatch.setattr(backbone, "image_features", counting)


def batch(reader: Reader, pairs: list[ShownPair]) -> PromptBatch:
    return reader.encoder.encode([TASK.encode(pair) for pair in pairs])


def features(cache: ImageCache, backbone: Backbone, prompts: PromptBatch) -> Tensor:
    with torch.no_grad():
        return cache.features(backbone, prompts, prompts.pixel_values_RC)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Backbone, Reader]:
    folder = write_tiny(tmp_path_factory.mktemp(request.param), family=request.param)
    return load_backbone(str(folder), PolicySpec(str(folder)))


@pytest.mark.parametrize("mib", [0.0, 0.004, ROOM])  # none, a few, and all of them
def test_features_are_those_of_the_tower_to_the_last_bit(model, mib):
    backbone, reader = model
    cache = ImageCache(mib)
    pairs = mixed(6)
    for chosen in (pairs[:4], pairs[2:], pairs, [pairs[5], pairs[0], pairs[0], pairs[3]]):
        prompts = batch(reader, chosen)
        with torch.no_grad():
            expected = backbone.image_features(prompts)
        assert torch.equal(features(cache, backbone, prompts), expected)
        assert cache.bytes_kept <= cache.bound
    assert (cache.hits > 0) == (mib > 0)
    assert not any(kept.requires_grad for kept in cache._kept.values())


def test_a_picture_that_was_seen_is_not_encoded_again(backbone, reader, monkeypatch):
    counted, cache = Counted(monkeypatch, backbone), ImageCache(ROOM)
    pairs = [shown(n) for n in range(4)]  # two images each, all different
    for chosen, hits in ((pairs[:2], 0), (pairs[1:3], 2), (pairs[:3], 8), ([pairs[3]], 8)):
        features(cache, backbone, batch(reader, chosen))
        assert cache.hits == hits
    assert counted.encoded == [4, 2, 2]


@pytest.mark.parametrize("mib", [0.0, ROOM])
def test_a_picture_of_several_pairs_is_encoded_once_a_batch(backbone, reader, monkeypatch, mib):
    counted, cache = Counted(monkeypatch, backbone), ImageCache(mib)
    pair = shown(0)
    swapped = ShownPair(pair.pair, "b", pair.index)
    features(cache, backbone, batch(reader, [pair, shown(1), swapped, pair]))
    assert counted.encoded == [4]
    assert cache.hits == 0


def test_pictures_that_differ_in_one_patch_or_in_shape_alone_are_two(backbone, reader, monkeypatch):
    counted = Counted(monkeypatch, backbone)
    prompts = batch(reader, [shown(0, sizes=((56, 84), (56, 84)))])
    rows = len(prompts.pixel_values_RC) // 2
    for mib in (0.0, ROOM):
        for change in range(rows):  # wherever it is: between the sampled rows too
            patches = prompts.pixel_values_RC[:rows].repeat(2, 1)
            patches[rows + change, 5] += 1.0
            changed = PromptBatch(**{**vars(prompts), "pixel_values_RC": patches})
            both = features(ImageCache(mib), backbone, changed)
            assert not torch.equal(both[: rows // 4], both[rows // 4 :])
        turned = PromptBatch(
            **{
                **vars(prompts),
                "pixel_values_RC": prompts.pixel_values_RC[:rows].repeat(2, 1),
                "image_grid_I3": torch.stack([prompts.image_grid_I3[0], prompts.image_grid_I3[0][[0, 2, 1]]]),
            }
        )
        features(ImageCache(mib), backbone, turned)
    assert set(counted.encoded) == {2}


def test_the_latest_used_are_kept_within_the_bound(backbone, reader, monkeypatch):
    counted = Counted(monkeypatch, backbone)
    # a pair's images of 56x56 and 84x56 have 4 and 6 rows of 32 x 4 bytes: 1,280 bytes a pair; room for two pairs
    cache = ImageCache(2600 / 2**20)
    batches = [batch(reader, [shown(n)]) for n in range(3)]
    for n in (0, 1, 0, 2, 0, 1):
        features(cache, backbone, batches[n])
        assert cache.bytes_kept <= 2600
    assert cache.bytes_kept == 2560
    assert counted.encoded == [2, 2, 2, 2]  # 0, 1 and 2; then 1 again, which was used longest ago when 2 came
    assert cache.hits == 4


def test_features_that_are_larger_than_the_bound_are_not_kept(backbone, reader):
    cache = ImageCache(600 / 2**20)  # room for the 512 bytes of 56x56, not for the 768 of 84x56
    prompts = batch(reader, [shown(0)])
    for hits in (0, 1):
        features(cache, backbone, prompts)
        assert (cache.hits, cache.bytes_kept) == (hits, 512)


def test_what_is_kept_is_no_view_of_a_batch(backbone, reader):
    cache = ImageCache(ROOM)
    features(cache, backbone, batch(reader, mixed(4)))
    for kept in cache._kept.values():
        assert kept.untyped_storage().nbytes() == kept.nelement() * kept.element_size()


def test_a_tower_that_trains_is_refused():
    with pytest.raises(
        ValueError, match=r"model\.memory\.cached_features_mib: .* or model\.policy\.train_vision to false"
    ):
        ImageCache(1.0, frozen=False)
    ImageCache(0.0, frozen=False)
