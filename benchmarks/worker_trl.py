"""Their side: TRL's GRPOTrainer, a step at a time. Run as ``python -m benchmarks.worker_trl JOB``.

The options are TRL's own for the fastest path with the same work: one batch for all completions, the fused optimizer,
no logging, no gradient checkpointing where ours has none. Rollouts are transformers' ``generate`` (no vLLM).
"""

import sys
import tempfile
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoTokenizer,
    BitsAndBytesConfig,
    Qwen2_5_VLForConditionalGeneration,
    TrainerCallback,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOConfig, GRPOTrainer

from benchmarks.measure import MovedWeight, finished, peak
from benchmarks.pairs import Link
from benchmarks.processor import ImageTextProcessor
from benchmarks.shapes import PROMPT, TEMPLATE, Job, Shape, pairs
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.adapters import adapted_layers

VISION_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")


class TimedGRPOTrainer(GRPOTrainer):
    """GRPOTrainer that notes when its parts end; it computes nothing else."""

    rollout_s = scored_s = 0.0
    scored_at = 0.0
    prompt_tokens = completion_tokens = rollouts = 0

    def _generate(self, prompts: list[Any]) -> Any:
        finished(self.accelerator.device)
        start = perf_counter()
        made = super()._generate(prompts)
        finished(self.accelerator.device)
        self.rollout_s = perf_counter() - start
        prompt_ids, completion_ids = made[:2]
        self.prompt_tokens = sum(map(len, prompt_ids))
        self.completion_tokens = sum(map(len, completion_ids))
        self.rollouts = len(completion_ids)
        return made

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        start = perf_counter()
        made = super()._generate_and_score_completions(inputs)
        finished(self.accelerator.device)
        self.scored_at = perf_counter()
        self.scored_s = self.scored_at - start - self.rollout_s
        return made


class TakesTurns(TrainerCallback):
    """Waits for the parent's word after every step, and tells what the step took."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._started = 0.0
        self.trainer: TimedGRPOTrainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the first step."""
        self._link.tell({"kind": "ready"})
        self._wait(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is over."""
        trainer = self.trainer
        assert trainer is not None
        finished(trainer.accelerator.device)
        now = perf_counter()
        self._link.tell(
            {
                "kind": "step",
                "step_s": now - self._started,
                "rollout_s": trainer.rollout_s,
                "reference_s": trainer.scored_s,
                "update_s": now - trainer.scored_at,
                "prompt_tokens": trainer.prompt_tokens,
                "completion_tokens": trainer.completion_tokens,
                "rollouts": trainer.rollouts,
            }
        )
        self._wait(control)

    def _wait(self, control: Any) -> None:
        if not self._link.wait():
            control.should_training_stop = True
        self._started = perf_counter()


class ListenerReward:
    """The frozen model's p(correct) on every completion, in one batch: a listener as TRL's users write it.

    The model is the reference that is there already, so it costs no further copy. A group's images are prepared once
    for all its completions, which is more than TRL does itself.
    """

    __name__ = "listener"

    def __init__(self, processor: ImageTextProcessor, group_size: int) -> None:
        self._processor = processor
        self._group_size = group_size
        tokenizer = processor.tokenizer
        self._labels = [tokenizer.encode(label, add_special_tokens=False)[0] for label in ("0", "1")]
        self.trainer: TimedGRPOTrainer | None = None

    @torch.no_grad()
    def __call__(
        self, prompts: list[Any], completion_ids: Sequence[list[int]], label: list[int], **columns: Any
    ) -> list[float]:
        """max(0, p(correct) - 0.5), read at each completion's last token."""
        trainer = self.trainer
        assert trainer is not None
        device = trainer.accelerator.device
        asked_P = prompts[:: self._group_size]
        asked = self._processor(
            images=[[part["image"] for part in prompt[-1]["content"] if part["type"] == "image"] for prompt in asked_P],
            text=self._processor.apply_chat_template(asked_P, add_generation_prompt=True, tokenize=False),
            padding=True,
            return_tensors="pt",
        )
        # the same length for all, so nothing is padded; the last token stands where an answer would
        traces_NT = torch.tensor([ids[:-1] for ids in completion_ids])
        prompts_NS = asked["input_ids"].repeat_interleave(self._group_size, 0)
        types_NS = asked["mm_token_type_ids"].repeat_interleave(self._group_size, 0)
        ids_NK = torch.cat([prompts_NS, traces_NT], 1).to(device)
        images_P = asked["image_grid_thw"].view(len(asked["input_ids"]), -1, 3)
        pixels_P = asked["pixel_values"].view(len(asked["input_ids"]), -1, asked["pixel_values"].shape[-1])
        inputs = {
            "input_ids": ids_NK,
            "attention_mask": torch.ones_like(ids_NK),
            "mm_token_type_ids": torch.cat([types_NS, torch.zeros_like(traces_NT)], 1).to(device),
            "image_grid_thw": images_P.repeat_interleave(self._group_size, 0).flatten(0, 1).to(device),
            "pixel_values": pixels_P.repeat_interleave(self._group_size, 0).flatten(0, 1).to(device),
        }
        if trainer.ref_model is not None:
            logits = self._last_logits(trainer.ref_model, inputs)
        else:
            policy: Any = trainer.accelerator.unwrap_model(trainer.model)
            with policy.disable_adapter():
                logits = self._last_logits(policy, inputs)
        p_correct = logits.softmax(1).cpu().gather(1, torch.tensor(label)[:, None]).squeeze(1)
        return (p_correct - 0.5).clamp(min=0).tolist()

    def _last_logits(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        trainer = self.trainer
        assert trainer is not None
        with trainer.accelerator.autocast():
            return model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1, self._labels].float()


def keeps_form(completion_ids: Sequence[list[int]], **columns: Any) -> list[float]:
    """A form reward that costs nothing and differs within groups."""
    return [float(sum(ids) % 3 > 0) for ids in completion_ids]


def is_right(completion_ids: Sequence[list[int]], label: list[int], **columns: Any) -> list[float]:
    """An accuracy reward of the same kind."""
    return [float(sum(ids) % 2 == right) for ids, right in zip(completion_ids, label, strict=True)]


def dataset_of(shape: Shape) -> Dataset:
    """The same questions as ours; images stay in memory, so that nothing is decoded in a step."""
    listed = pairs(shape)
    question = PairwisePreference(template=TEMPLATE, system=None)
    shown = [ShownPair(pair, "a", n) for n, pair in enumerate(listed)]
    messages = [list(question.encode(pair).messages) for pair in shown]
    assert all(pair.prompt == PROMPT for pair in listed)

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {
            "prompt": [messages[n] for n in batch["row"]],
            "images": [list(shown[n].images) for n in batch["row"]],
            "label": [shown[n].label for n in batch["row"]],
        }

    return Dataset.from_dict({"row": list(range(len(listed)))}).with_transform(rows)


def model_of(job: Job) -> Any:
    """The policy, its vision tower frozen where the job says so."""
    shape = job.shape
    options: dict[str, Any] = {"dtype": getattr(torch, shape.dtype), "attn_implementation": "sdpa"}
    if shape.quantization is not None:
        options |= {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=shape.quantization,
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=getattr(torch, shape.dtype),
                llm_int8_skip_modules=["model.visual", "lm_head"],
            ),
            "device_map": {"": 0},
        }
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(job.folder, use_safetensors=True, **options)
    if job.vision == "frozen":
        model.model.visual.requires_grad_(False)
    return model


def options_of(shape: Shape, output: str, suppressed: list[int]) -> GRPOConfig:
    """TRL's options: the same work as ours, as fast as they make it."""
    return GRPOConfig(
        output_dir=output,
        per_device_train_batch_size=shape.completions,
        gradient_accumulation_steps=1,
        num_generations=shape.group_size,
        num_iterations=1,
        max_completion_length=shape.new_tokens,
        generation_kwargs={
            "min_new_tokens": shape.new_tokens,
            "max_new_tokens": shape.new_tokens,
            "suppress_tokens": suppressed,
        },
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=0.04,
        loss_type="grpo",
        scale_rewards="group",
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=shape.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if shape.gradient_checkpointing else None,
        bf16=shape.dtype == "bfloat16",
        use_cpu=shape.device == "cpu",
        use_vllm=False,
        max_steps=1_000_000,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=shape.device == "cuda",
        seed=0,
    )


def trainer_of(job: Job, output: str, callbacks: list[TrainerCallback]) -> TimedGRPOTrainer:
    """The trainer as a user would make it."""
    shape = job.shape
    tokenizer = AutoTokenizer.from_pretrained(job.folder)
    processor = ImageTextProcessor(Qwen2VLImageProcessorPil.from_pretrained(job.folder), tokenizer)
    options = options_of(shape, output, tokenizer.convert_tokens_to_ids(list(VISION_TOKENS)))
    rewards: list[Any] = [keeps_form, is_right]
    options.reward_weights = [1.0, 0.5]
    if job.listener == "reference":
        rewards.append(ListenerReward(processor, shape.group_size))
        options.reward_weights.append(0.5)
    adapters = None
    if shape.lora_rank is not None:
        adapters = LoraConfig(
            r=shape.lora_rank,
            lora_alpha=32,
            lora_dropout=0.0,
            target_modules=adapted_layers(vision=job.vision == "trained"),
            task_type="CAUSAL_LM",
        )
    trainer = TimedGRPOTrainer(
        model=model_of(job),
        reward_funcs=rewards,
        args=options,
        train_dataset=dataset_of(shape),
        processing_class=processor,
        peft_config=adapters,
        callbacks=callbacks,
    )
    for told in (*callbacks, *rewards):
        if hasattr(told, "trainer"):
            told.trainer = trainer
    return trainer


def main(job: Job) -> None:
    """Train until the parent has seen enough."""
    link = Link()
    with tempfile.TemporaryDirectory() as output:
        trainer = trainer_of(job, output, [TakesTurns(link)])
        moved = MovedWeight(trainer.model)
        trainer.train()
    link.tell({"kind": "end", **peak(job.shape.device), "moved": moved.distance()})


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
