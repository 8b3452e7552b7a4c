"""Manifests: which pairs a figure was made from, told so that a later reader can see whether theirs are the same.

A manifest is a file of JSON lines: one a pair, in the order of the data set, with its id, how people voted, and a
sha256 of its prompt and of each image; then a last line with their number and one digest, the sha256 of all lines
before it. An image's sha256 is that of its width, height and decoded RGB bytes, as a model is given them: the same
pixels from PNG and from Parquet are the same, and a recompressed JPEG is another image.
"""

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from lit_listener.data.sheet import Pairs
from lit_listener.data.watched import watched

_FORMAT = "lit_listener manifest 1"
_TOLD = 5


@dataclass(frozen=True)
class ManifestLine:
    """One pair of a manifest."""

    pair_id: str
    share_a: float
    """Share of the votes that went to image A."""
    votes: int
    preferred: str | None
    """a or b; None for a tie."""
    prompt: str
    """sha256 of the prompt in UTF-8."""
    image_a: str
    """sha256 of "width x height" and the decoded RGB bytes."""
    image_b: str


@dataclass(frozen=True)
class Differences:
    """What differs between a manifest and a data set."""

    missing: tuple[str, ...]
    """Ids of pairs that the manifest has and the data set lacks."""
    added: tuple[str, ...]
    """Ids of pairs that the data set has and the manifest lacks."""
    changed: dict[str, tuple[str, ...]]
    """What changed of a pair that both have, by its id; "unreadable" where its images cannot be read."""
    reordered: bool
    """Both have the same ids, in another order."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.added or self.changed or self.reordered)

    def lines(self) -> list[str]:
        """The differences in words, a line a kind, with the first few ids."""
        lines = [
            f"{len(ids):,} pairs {what}: {_first(ids)}"
            for ids, what in ((self.missing, "are missing"), (self.added, "are not in the manifest"))
            if ids
        ]
        kinds = Counter(kind for changes in self.changed.values() for kind in changes)
        for kind, count in kinds.items():
            ids = tuple(pair for pair, changes in self.changed.items() if kind in changes)
            lines.append(f"{count:,} pairs {'are' if kind == 'unreadable' else 'have another'} {kind}: {_first(ids)}")
        if self.reordered:
            lines.append("the pairs are the same, in another order")
        return lines


def write_manifest(pairs: Pairs, path: Path) -> str:
    """Write the manifest of a data set; every image is decoded.

    Args:
        pairs: The data set.
        path: The file to write; it is there whole or not at all. Missing folders are made.

    Returns:
        The digest over all pairs.

    Raises:
        ValueError: There are no pairs, two have one id, or an image cannot be read: a manifest names all pairs or none.
    """
    digest, seen = hashlib.sha256(), set[str]()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            for line in watched(lambda place: _line(pairs, place), range(len(pairs)), "hashing pairs"):
                if line.pair_id in seen:
                    raise ValueError(f"two pairs have the id {line.pair_id!r}: a manifest needs one name a pair")
                seen.add(line.pair_id)
                text = _encoded(asdict(line))
                digest.update(text)
                file.write(text)
            if not seen:
                raise ValueError("there are no pairs to write a manifest of: the data set is empty")
            file.write(_encoded({"format": _FORMAT, "pairs": len(seen), "digest": digest.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return digest.hexdigest()


def read_manifest(path: Path) -> tuple[dict[str, ManifestLine], str]:
    """The pairs of a manifest by their ids, in order, and the digest over them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no manifest, was cut off, or was changed after it was written.
    """
    digest, before, lines = hashlib.sha256(), b"", dict[str, ManifestLine]()
    with path.open("rb") as file:
        for text in file:
            if before:
                digest.update(before)
                line = _decoded(path, before)
                lines[line.pair_id] = line
            before = text
    try:
        last = json.loads(before or b"null")
    except ValueError:
        last = None
    if not isinstance(last, dict) or last.get("format") != _FORMAT:
        raise ValueError(f"{path}: expected a manifest that ends in a line with its format and digest; write it anew")
    if (last["pairs"], last["digest"]) != (len(lines), digest.hexdigest()):
        raise ValueError(f"{path}: its pairs do not have the digest of its last line: it was changed; write it anew")
    return lines, digest.hexdigest()


def check_manifest(pairs: Pairs, path: Path) -> Differences:
    """What differs between a manifest and a data set; every image of the data set is decoded.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no manifest, or was changed.
    """
    known, _ = read_manifest(path)
    added: list[str] = []
    changed: dict[str, tuple[str, ...]] = {}
    order: list[str] = []

    def found(place: int) -> ManifestLine | str:
        try:
            return _line(pairs, place)
        except (OSError, ValueError) as error:
            return f"place {place} ({error})"

    for line in watched(found, range(len(pairs)), "hashing pairs"):
        if isinstance(line, str):
            changed[line] = ("unreadable",)
            continue
        order.append(line.pair_id)
        if line.pair_id not in known:
            added.append(line.pair_id)
        elif line != known[line.pair_id]:
            was, now = asdict(known[line.pair_id]), asdict(line)
            changed[line.pair_id] = tuple(name for name in was if was[name] != now[name])
    there = set(order)
    missing = tuple(name for name in known if name not in there)
    return Differences(missing, tuple(added), changed, not (missing or added) and order != list(known))


def _line(pairs: Pairs, place: int) -> ManifestLine:
    pair = pairs[place]
    return ManifestLine(
        pair_id=pair.pair_id,
        share_a=pair.share_a,
        votes=pair.votes,
        preferred=pair.preferred,
        prompt=hashlib.sha256(pair.prompt.encode()).hexdigest(),
        image_a=_image_digest(pair.image_a),
        image_b=_image_digest(pair.image_b),
    )


def _image_digest(image: Image.Image) -> str:
    digest = hashlib.sha256(f"{image.width}x{image.height} ".encode())
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def _encoded(cells: dict[str, object]) -> bytes:
    return f"{json.dumps(cells, ensure_ascii=False)}\n".encode()


def _decoded(path: Path, text: bytes) -> ManifestLine:
    try:
        return ManifestLine(**json.loads(text))
    except (ValueError, TypeError):
        raise ValueError(f"{path}: not a line of a manifest: {text[:80]!r}") from None


def _first(ids: tuple[str, ...]) -> str:
    return ", ".join([*ids[:_TOLD], *(["…"] if len(ids) > _TOLD else [])])
