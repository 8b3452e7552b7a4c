"""What was shown in a step, written down as pictures beside a few words of JSON, and read back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lit_listener.data.records import PreferencePair, RankedList
from lit_listener.data.shown import Shown, ShownImage, ShownList, ShownPair

_PAIR = ("prompt", "share_a", "votes", "pair_id", "prompt_id", "generator_a", "generator_b")
_LIST = ("prompt", "ranks", "list_id", "prompt_id", "generators")


def write_shown(shown: Shown, n: int, folder: Path) -> dict[str, Any]:
    """Save the pictures as PNG files.

    Args:
        shown: a pair, an image or a list.
        n: its place in the step, which the files are named by.
        folder: where they go.

    Returns:
        what JSON is to say of it.
    """
    if isinstance(shown, ShownPair):
        pair = shown.pair
        facts: dict[str, Any] = {name: getattr(pair, name) for name in _PAIR}
        images: Sequence[Image.Image] = (pair.image_a, pair.image_b)
        names = [f"pair-{n}-a.png", f"pair-{n}-b.png"]
        facts |= {"kind": "pair", "first": shown.first, "label": shown.label}
    elif isinstance(shown, ShownList):
        ranked = shown.ranked
        facts = {name: getattr(ranked, name) for name in _LIST}
        images = ranked.images
        names = [f"list-{n}-{place}.png" for place in range(len(images))]
        facts |= {"kind": "list", "order": shown.order}
    elif isinstance(shown, ShownImage):
        facts = {"kind": "image", "prompt": shown.prompt, "name": shown.name, "share": shown.share}
        images = (shown.image,)
        names = [f"image-{n}.png"]
    else:
        raise TypeError(f"expected a shown pair, image or list, got a {type(shown).__name__}")
    for name, image in zip(names, images, strict=True):
        image.save(folder / name)
    return {**facts, "images": names, "index": shown.index, "epoch": shown.epoch}


def read_shown(saved: dict[str, Any], folder: Path) -> Shown:
    """What ``write_shown`` wrote.

    Args:
        saved: what JSON says of it.
        folder: where the pictures are.
    """
    images = tuple(Image.open(folder / name) for name in saved["images"])
    for image in images:
        image.load()  # and close the file
    index, epoch = saved["index"], saved["epoch"]
    if saved["kind"] == "image":
        return ShownImage(saved["prompt"], images[0], saved["name"], index, saved["share"], epoch=epoch)
    if saved["kind"] == "list":
        facts: dict[str, Any] = {name: saved[name] for name in ("prompt", "list_id", "prompt_id")}
        ranked = RankedList(images=images, ranks=tuple(saved["ranks"]), generators=tuple(saved["generators"]), **facts)
        return ShownList(ranked, tuple(saved["order"]), index, epoch)
    pair = PreferencePair(image_a=images[0], image_b=images[1], **{name: saved[name] for name in _PAIR})
    return ShownPair(pair, saved["first"], index, epoch)
