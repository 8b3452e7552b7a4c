"""How many pairs a second a judge compares, against ``transformers.generate`` on the same weights, prompts and images.

    python benchmarks/judging.py                       # 500 pairs of the Shapes world, as the README has it
    python benchmarks/judging.py --pairs 60 --repeats 1 --output judging.json

Every side shows each pair in both orders, samples at temperature 1 with the same limit of tokens, and reads the
probability of the second image off the logits at the answer's place. The sides take turns; a ratio is the median over
the turns of theirs over ours, each taken side by side.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lit_listener import Judge
from lit_listener.data.records import PreferencePair
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.judging.card import CARD, read_card
from lit_listener.tasks import Question
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.specs import BUNDLED

Side = Callable[[Sequence[PreferencePair]], list[float | None]]


class Generate:
    """What one writes with transformers alone: encode a batch of questions, generate, read the answers.

    Args:
        batch: questions of a batch; 2 is one pair at a time, in both orders.
    """

    def __init__(self, batch: int) -> None:
        folder = BUNDLED["shapes"]
        card = read_card((folder / CARD).read_text(), str(folder))
        self.batch = batch
        self.task, self.limit = card.task, card.max_new_tokens
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.labels = [torch.tensor(ids) for ids in label_token_ids(self.tokenizer, self.task.labels)]

    @torch.no_grad()
    def __call__(self, pairs: Sequence[PreferencePair]) -> list[float | None]:
        """p_a of each pair; None where an answer cannot be read."""
        questions = [question for pair in pairs for question in self._questions(pair)]
        p_second: list[float | None] = []
        for start in range(0, len(questions), self.batch):
            p_second += self._answered(questions[start : start + self.batch])
        both = zip(p_second[::2], p_second[1::2], strict=True)
        return [None if one is None or other is None else ((1 - one) + other) / 2 for one, other in both]

    def _questions(self, pair: PreferencePair) -> Iterator[Question]:
        for first in ("a", "b"):
            yield self.task.encode(ShownPair(pair, first, index=0))

    def _answered(self, questions: Sequence[Question]) -> list[float | None]:
        patches = self.images(images=[image for each in questions for image in each.images], return_tensors="pt")
        tokens = (patches["image_grid_thw"].prod(-1) // self.images.merge_size**2).tolist()
        texts = []
        for each in questions:
            text = self.tokenizer.apply_chat_template(list(each.messages), tokenize=False, add_generation_prompt=True)
            for _ in each.images:
                text = text.replace("<|image_pad|>", "<|slot|>" * tokens.pop(0), 1)
            texts.append(text.replace("<|slot|>", "<|image_pad|>"))
        read = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        ids = read["input_ids"]
        made = self.model.generate(
            input_ids=ids,
            attention_mask=read["attention_mask"],
            mm_token_type_ids=(ids == self.model.config.image_token_id).int(),
            **patches,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=self.limit,
            output_logits=True,
            return_dict_in_generate=True,
        )
        completions = made.sequences[:, ids.shape[1] :].tolist()
        return [self._p_second(row, made.logits, n) for n, row in enumerate(completions)]

    def _p_second(self, row: list[int], logits: Sequence[torch.Tensor], n: int) -> float | None:
        text = ""
        for place, token in enumerate(row):
            if text.endswith("<answer>"):
                zero, one = (logits[place][n, ids].logsumexp(0) for ids in self.labels)
                return float(torch.sigmoid(one - zero))
            text += self.tokenizer.decode([token])
        return None


def ours(judge: Judge) -> Side:
    """This package's judge."""

    def compare(pairs: Sequence[PreferencePair]) -> list[float | None]:
        found = judge.compare_many([(pair.prompt, pair.image_a, pair.image_b) for pair in pairs], progress=False)
        return [comparison.p_a for comparison in found]

    return compare


def timed(side: Side, pairs: Sequence[PreferencePair]) -> tuple[float, float]:
    """Seconds, and the share of pairs whose majority image was given the greater probability."""
    start = time.perf_counter()
    found = side(pairs)
    seconds = time.perf_counter() - start
    right = [p is not None and (p > 0.5) == (pair.share_a > 0.5) for p, pair in zip(found, pairs, strict=True)]
    return seconds, sum(right) / len(right)


def ranked(judge: Judge, pairs: Sequence[PreferencePair], images: int, turns: int = 5) -> float:
    """Seconds to rank images for one prompt, each turn other ones; the median."""
    seconds = []
    for turn in range(turns):
        shown = [pairs[place % len(pairs)].image_a for place in range(turn * images, (turn + 1) * images)]
        start = time.perf_counter()
        judge.rank(pairs[turn % len(pairs)].prompt, shown)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Time all sides and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5, help="turns of ours and of batched generate")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128], help="generate's batch sizes")
    parser.add_argument("--batch_size", type=int, help="ours; by default the judge's own")
    parser.add_argument("--images", type=int, default=9, help="images that are ranked for one prompt, ours alone")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    source = ShapesPairs(["flat", "paper"], options.pairs, "test")
    pairs = [source[place] for place in range(options.pairs)]
    judge = Judge.load("shapes", device="cpu", dtype="float32", batch_size=options.batch_size)
    sides = {f"generate, batches of {batch}": (Generate(batch), options.repeats) for batch in options.batches}
    sides["generate, one pair at a time"] = (Generate(2), 1)
    for side in (ours(judge), *(side for side, _ in sides.values())):
        side(pairs[:4])  # warm
    ranking = ranked(judge, pairs, options.images)
    print(f"{options.images} images of one prompt ranked, ours: {ranking:.2f} s", flush=True)
    rows = []
    for name, (side, repeats) in sides.items():
        turns = [(timed(ours(judge), pairs), timed(side, pairs)) for _ in range(repeats)]
        ratios = [theirs[0] / own[0] for own, theirs in turns]
        row = {
            "side": name,
            "seconds": statistics.median(theirs[0] for _, theirs in turns),
            "ours": statistics.median(own[0] for own, _ in turns),
            "ratio": statistics.median(ratios),
            "ratios": [min(ratios), max(ratios)],
            "accuracy": turns[0][1][1],
            "accuracy_ours": turns[0][0][1],
        }
        rows.append(row)
        print(
            f"{name}: {row['seconds']:.1f} s, ours {row['ours']:.1f} s ({options.pairs / row['ours']:.1f} pairs/s): "
            f"{row['ratio']:.2f}x [{min(ratios):.2f}, {max(ratios):.2f}] over {repeats}; "
            f"accuracy {row['accuracy']:.3f}, ours {row['accuracy_ours']:.3f}",
            flush=True,
        )
    if options.output:
        options.output.write_text(
            json.dumps(
                {"pairs": options.pairs, "rows": rows, "ranking": {"images": options.images, "seconds": ranking}},
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
