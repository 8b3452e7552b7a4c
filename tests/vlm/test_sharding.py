"""Sharding a backbone over a group of one process: what is kept in which format, and when weights are gathered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from lit_listener.vlm import ranks
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.sharding import Sharding, gathered_weights, is_sharded, shard
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import TASK, completions, mixed, rollout, score, write_tiny


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceMesh]:
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def asked(folder: Path) -> tuple[Any, Any]:
    backbone, reader = load_backbone(str(folder), PolicySpec(str(folder)))
    return backbone, reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)], room=8)


def watch_weights(backbone: Any) -> list[set[bool]]:
    """For each decoding step, whether layers' weights are whole when it begins."""
    whole: list[set[bool]] = []
    decode = backbone.decode

    def watching(*args: Any) -> Any:
        weights = [p for layer in backbone.language_model.layers for p in layer.parameters()]
        whole.append({not isinstance(p, DTensor) for p in weights})
        return decode(*args)

    backbone.decode = watching
    return whole


def sampled(backbone: Any, prompts: Any, **options: Any) -> Any:
    features = backbone.image_features(prompts)
    sampling = Sampling(max_new_tokens=8)
    return rollout(backbone, prompts, features, group_size=2, sampling=sampling, keys=[(0,), (1,)], **options)


def test_shards_are_kept_in_float32_and_computed_in_bfloat16(mesh, folder):
    plain, prompts = asked(folder)
    given = completions(plain, [3, 5, 4, 6])
    exact = score(plain, prompts, given).log_probs_NT
    coarse, _ = asked(folder)
    shard(coarse, mesh, Sharding(compute_dtype="bfloat16"))
    assert is_sharded(coarse)
    assert all(isinstance(p, DTensor) and p.dtype == torch.float32 for p in coarse.parameters())
    rounded = score(coarse, prompts, given).log_probs_NT
    assert rounded.dtype == torch.float32
    off = (rounded - exact).abs()[given.mask_NT]
    assert 1e-4 < off.max() < 0.5  # seen: 0.06
    rounded[given.mask_NT].sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in coarse.parameters())


def test_in_float32_nothing_changes(mesh, folder):
    plain, prompts = asked(folder)
    sharded, _ = asked(folder)
    shard(sharded, mesh, Sharding())
    given = completions(plain, [3, 5, 4, 6])
    ours, theirs = score(sharded, prompts, given), score(plain, prompts, given)
    torch.testing.assert_close(ours.log_probs_NT, theirs.log_probs_NT, atol=1e-6, rtol=0)
    assert torch.equal(sampled(sharded, prompts).ids_NT, sampled(plain, prompts).ids_NT)


def test_a_rollout_gathers_weights_once(mesh, folder):
    backbone, prompts = asked(folder)
    shard(backbone, mesh, Sharding())
    whole = watch_weights(backbone)
    plain = sampled(backbone, prompts)
    assert whole == [{False}] * len(whole) != []
    whole.clear()
    with gathered_weights(backbone):
        kept = sampled(backbone, prompts)
    assert whole == [{True}] * len(whole) != []
    assert torch.equal(kept.ids_NT, plain.ids_NT)
    assert all(isinstance(p, DTensor) for layer in backbone.layers() for p in layer.parameters())  # sharded again


def test_outside_of_sharding_there_is_nothing_to_gather(folder):
    backbone, prompts = asked(folder)
    assert not is_sharded(backbone)
    with gathered_weights(backbone):
        assert sampled(backbone, prompts).ids_NT.numel()


def test_a_rank_that_has_finished_decodes_on_to_no_effect(folder):
    backbone, prompts = asked(folder)
    alone = sampled(backbone, prompts)
    asked_ranks: list[bool] = []

    def anywhere(here: bool) -> bool:
        asked_ranks.append(here)
        return True  # another rank is never done

    calls: list[int] = []
    decode = backbone.decode
    backbone.decode = lambda *args: calls.append(1) or decode(*args)
    backbone.vocabulary = type(backbone.vocabulary)(
        **{**vars(backbone.vocabulary), "end_ids": tuple(range(0, backbone.vocabulary.size, 2))}
    )
    together = sampled(backbone, prompts, anywhere=anywhere)
    longest = int(together.mask_NT.sum(1).max())
    assert together.ids_NT.shape[1] == longest < 8
    assert len(calls) == 7  # as many as the longest possible completion needs
    assert asked_ranks[longest - 1 :] == [False] * (8 - longest)
    assert torch.equal(together.ids_NT, sampled(backbone, prompts).ids_NT)
    assert alone.ids_NT.shape[1] >= longest


def test_one_process_is_all_ranks():
    rows = torch.arange(6.0).view(3, 2)
    assert (ranks.world_size(), ranks.rank()) == (1, 0)
    assert ranks.any_rank(True)
    assert not ranks.any_rank(False)
    for same in (ranks.gathered(rows), ranks.summed(rows), ranks.own_share(ranks.dealt_together(rows, 3), 3)):
        assert torch.equal(same, rows)
    assert ranks.longest(4) == 4
