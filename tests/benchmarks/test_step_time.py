"""The benchmark itself: that both sides do the same work, and that its figures are what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from benchmarks import bounds, sweep
from benchmarks.pairs import ROOT, Worker, WorkerDiedError
from benchmarks.processor import ImageTextProcessor
from benchmarks.shapes import SHAPES, TEMPLATE, Job, config_of, named, pairs, tokenizer_of, write_model
from benchmarks.step_time import both, check_same_work, figures, main, over_memory, paired_ratio
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec

TINY = SHAPES["tiny"]
CONTRACT = {
    "shape",
    "device",
    "dtype",
    "ours",
    "trl",
    "ratio",
    "ratio_with_listener",
    "memory_ratio",
    "vision",
    "pairs",
}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_model(TINY, folder)
    return folder


def step(seconds, **work):
    return {
        "rollout_s": seconds / 2,
        "reference_s": seconds / 4,
        "update_s": seconds / 4,
        "step_s": seconds,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "rollouts": 4,
        **work,
    }


def side(*seconds, moved=1e-5, **work):
    return [step(s, **work) for s in seconds], {"peak_mib": 100.0, "moved": moved}


@pytest.mark.parametrize(
    ("name", "parameters", "within"),
    [
        ("cpu-336-g10", 4.0e6, 0.1),
        ("cpu-112-g8", 4.0e6, 0.1),
        ("h200-3b-512-g10", 3.75e9, 0.02),
        ("h200-7b-qlora", 8.29e9, 0.02),
    ],
)
def test_models_have_the_promised_sizes(name, parameters, within):
    shape = SHAPES[name]
    tokenizer = tokenizer_of(shape)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config_of(shape, tokenizer))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=within)
    assert len(tokenizer) <= model.config.get_text_config().vocab_size


def test_filled_up_tokenizer_writes_a_question_as_the_bundled_one_does():
    large, small = tokenizer_of(SHAPES["h200-3b-512-g10"]), tokenizer_of(TINY)
    assert len(large) == 151_665
    text = "three red circles. first <|vision_start|><|image_pad|><|vision_end|> better, 0 or 1?"
    assert large.convert_ids_to_tokens(large.encode(text)) == small.convert_ids_to_tokens(small.encode(text))
    assert large.decode([100_000])  # every sampled id can be read


def test_processor_gives_what_our_encoder_gives(tiny_model):
    _, reader = load_backbone(str(tiny_model), PolicySpec(str(tiny_model)))
    task = PairwisePreference(template=TEMPLATE, system=None)
    shown = [ShownPair(pair, "a", n) for n, pair in enumerate(pairs(TINY))]
    questions = [task.encode(pair) for pair in shown]
    ours = reader.encoder.encode(questions)
    processor = ImageTextProcessor(reader.image_processor, reader.tokenizer)
    text = processor.apply_chat_template(
        [list(question.messages) for question in questions], add_generation_prompt=True, tokenize=False
    )
    theirs = processor(images=[list(pair.images) for pair in shown], text=text, padding=True, return_tensors="pt")
    torch.testing.assert_close(theirs["input_ids"], ours.input_ids_PS)
    torch.testing.assert_close(theirs["attention_mask"].bool(), ours.mask_PS)
    torch.testing.assert_close(theirs["pixel_values"], ours.pixel_values_RC)
    torch.testing.assert_close(theirs["image_grid_thw"], ours.image_grid_I3)
    image_token = reader.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    torch.testing.assert_close(theirs["mm_token_type_ids"], (ours.input_ids_PS == image_token).long())


def test_processor_pads_on_the_left_and_counts_slots(tiny_model):
    _, reader = load_backbone(str(tiny_model), PolicySpec(str(tiny_model)))
    processor = ImageTextProcessor(reader.image_processor, reader.tokenizer)
    padded = processor(text=["red circles", "red"], padding=True, return_tensors="pt")
    long, short = padded["attention_mask"].tolist()
    assert all(long)
    assert short == sorted(short)
    assert not short[0]
    with pytest.raises(ValueError, match="got 0 slots for 1 images"):
        processor(images=[[pairs(TINY)[0].image_a]], text=["no slot"])


def test_ratio_is_the_median_over_pairs_not_the_ratio_of_medians():
    # pair by pair: 8/4 = 2 and 9/1 = 9, of which the median is 5.5; the medians' own ratio would be 8.5/2.5 = 3.4
    assert paired_ratio(side(4, 1)[0], side(8, 9)[0]) == pytest.approx(5.5)


def test_figures_are_medians_and_the_peak():
    assert figures(side(1, 8, 3)) == {
        "rollout_s": 1.5,
        "reference_s": 0.75,
        "update_s": 0.75,
        "step_s": 3,
        "peak_mib": 100.0,
    }


def test_sides_that_did_different_work_are_not_compared():
    check_same_work(side(1), side(2))
    with pytest.raises(ValueError, match="10 prompt_tokens a step of ours, 11 of TRL's"):
        check_same_work(side(1), side(2, prompt_tokens=11))
    with pytest.raises(ValueError, match="TRL: the weights did not move"):
        check_same_work(side(1), side(2, moved=0.0))


def test_a_peak_above_the_shapes_limit_is_told():
    record = {"shape": "h200-7b-qlora", "vision": "frozen", "ours": {"peak_mib": 24_577.0}}
    assert over_memory([record]) == [
        "h200-7b-qlora, vision tower frozen: ours peaks at 24577 MiB, above its limit of 24576 MiB"
    ]
    assert over_memory([{**record, "ours": {"peak_mib": 24_575.0}}]) == []


def test_growth_of_a_sweep():
    def record(group, ours, trl):
        # P = 2 prompts of 100 tokens, 10 new ones
        work = {"prompt_tokens": 200 * group, "completion_tokens": 20 * group, "rollouts": 2 * group}
        return {"sweep": "group", "group_size": group, "ours": {"step_s": ours}, "trl": {"step_s": trl}, **work}

    # 1 s + 0.1 s a completion; 0.5 s a completion
    of = sweep.growth([record(16, 4.2, 16.0), record(2, 1.4, 2.0), record(4, 1.8, 4.0)])
    assert of["packed_tokens"] == pytest.approx((200 + 320) / (200 + 40))
    assert of["plain_tokens"] == pytest.approx(8)
    assert of["ours"] == pytest.approx(4.2 / 1.4)
    assert of["trl"] == pytest.approx(8)
    assert (of["ours_ms"], of["trl_ms"]) == (pytest.approx(100), pytest.approx(500))


def test_bounds_of_a_step_by_hand(tiny_model):
    backbone, _ = load_backbone(str(tiny_model), PolicySpec(str(tiny_model)))
    model, text = backbone.model, backbone.model.config.get_text_config()
    weights = sum(p.nbytes for n, p in model.named_parameters() if "visual" not in n)
    assert bounds.language_bytes(model) == weights  # tied: the table is the output matrix, read once
    # keys and values of a token: 2 x 2 layers x 2 heads x 16 x 4 bytes = 512. 3 decode steps after the prefill read
    # 2 prompts x 8 tokens, and of each of 8 completions 2 tokens on average
    assert bounds.decode_bytes(1000, text, TINY, 8) == 3 * (1000 + 16 * 512) + 8 * 3 * 2 * 512
    # a layer: q and o 64 x 64, k and v 64 x 32, and three of 64 x 128; 2 layers; tokens 2 x (8 + 4 x 4) = 48
    linear = 2 * 48 * 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    attention = 4 * 2 * (8 * 8 / 2 + 4 * 4 * (8 + 2)) * 64 * 2
    head = 2 * 64 * text.vocab_size * 8 * 4
    assert bounds.update_flops(model, text, TINY, 8, "frozen") == 3 * (linear + attention + head)
    measured = bounds.measured_bounds(model, TINY, "trained")
    assert min(measured.values()) > 0
    assert bounds.shares({**measured, "decode_bytes": 6.0, "copy_bytes_per_s": 2.0}, 4.0, 1.0)[
        "decode_bandwidth_share"
    ] == pytest.approx(6 / 2 / 4)


def test_a_dying_worker_is_an_error_with_the_end_of_its_log(tmp_path):
    job = Job(TINY, str(tmp_path / "no_such_model"), "frozen")
    worker = Worker("benchmarks.worker_ours", job.to_json(), tmp_path / "log")
    try:
        with pytest.raises(WorkerDiedError, match=r"worker_ours ended with status 1 .*no figure(.|\n)*no_such_model"):
            worker.answer()
    finally:
        worker.close()


def test_shapes_that_cannot_be_run_are_refused(capsys, monkeypatch):
    with pytest.raises(ValueError, match="'cpu-1' is not a shape; expected one of"):
        named("cpu-1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(["--shape", "h200-7b-qlora"])
    assert "--shape: h200-7b-qlora needs a CUDA GPU, and torch sees none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--shape", "tiny", "--plot", "curves.png"])
    assert "--plot: draws a sweep's curves; add --sweep" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--shape", "tiny", "tiny-lora", "--sweep"])
    assert "--sweep: takes one --shape, got 2" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SystemExit):
        main(["--shape", "h200-7b-qlora", "--vision", "trained"])
    assert "--vision: h200-7b-qlora is timed with its tower frozen only" in capsys.readouterr().err


def test_job_survives_its_way_to_a_worker():
    job = Job(SHAPES["tiny-lora"], "folder", "trained", "reference", bounds=True)
    assert Job.from_json(job.to_json()) == job


def test_curves_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.figures import draw  # noqa: PLC0415  # matplotlib is an extra

    facts = {"shape": "tiny", "vision": "frozen", "dtype": "float32", "device_name": "a test", "pairs": 1}
    records = [
        {**facts, "sweep": axis, "group_size": g, "image_side": s, "ours": {"step_s": 1.0}, "trl": {"step_s": 2.0}}
        for axis, g, s in [("group", 2, 112), ("group", 4, 112), ("image", 8, 112), ("image", 8, 224)]
    ]
    draw(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_both_sides_read_the_same_tokens_and_their_parts_make_up_the_step(tiny_model, tmp_path):
    pytest.importorskip("trl")
    ours, trl = both(Job(TINY, str(tiny_model), "frozen"), 2, tmp_path)
    for steps, end in (ours, trl):
        assert end["moved"] > 0
        assert {one["rollouts"] for one in steps} == {TINY.completions}
        assert {one["completion_tokens"] for one in steps} == {TINY.completions * TINY.new_tokens}
        for one in steps:
            parts = one["rollout_s"] + one["reference_s"] + one["update_s"]
            assert parts <= one["step_s"]
            # what is left is the loader and the loop: tens of milliseconds, whatever the model's size
            assert one["step_s"] - parts < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "vision"), [pytest.param("tiny", "frozen", marks=pytest.mark.accept), ("tiny-lora", "trained")]
)
def test_command_writes_what_it_promises(tmp_path, name, vision):
    pytest.importorskip("trl")
    output = tmp_path / "figures.json"
    command = [sys.executable, "benchmarks/step_time.py", "--shape", name, "--vision", vision, "--pairs", "1"]
    done = subprocess.run([*command, "--output", output], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(output.read_text())
    assert set(record) >= CONTRACT
    assert (record["shape"], record["vision"], record["device"], record["dtype"]) == (name, vision, "cpu", "float32")
    assert record["pairs"] == 1
    for key in ("ours", "trl", "ours_with_listener", "trl_with_listener", "ours_with_model_listener"):
        assert set(record[key]) == {"rollout_s", "reference_s", "update_s", "step_s", "peak_mib"}
        assert min(record[key].values()) > 0
    assert record["ratio"] == pytest.approx(record["trl"]["step_s"] / record["ours"]["step_s"])  # of one pair
    assert record["memory_ratio"] == pytest.approx(record["ours"]["peak_mib"] / record["trl"]["peak_mib"])
    assert record["decode_bandwidth_share"] > 0
    assert record["update_matmul_share"] > 0
    assert list(Path(tmp_path).iterdir()) == [output]
    assert "TRL, transformers rollout" in done.stdout
