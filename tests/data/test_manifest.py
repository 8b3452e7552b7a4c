import hashlib
import json

import pytest
from PIL import Image

from lit_listener.data.manifest import check_manifest, read_manifest, write_manifest


@pytest.fixture
def pairs(make_pair):
    shares = (0.8, 0.5, 0.1)
    return [make_pair(share, pair_id=f"p{n}", prompt=f"a cät {n}") for n, share in enumerate(shares)]


def test_a_line_a_pair_and_a_digest_over_all(pairs, tmp_path):
    path = tmp_path / "new" / "test.jsonl"
    digest = write_manifest(pairs, path)
    *lines, last = path.read_bytes().splitlines(keepends=True)
    assert json.loads(lines[0]) == {
        "pair_id": "p0",
        "share_a": 0.8,
        "votes": 15,
        "preferred": "a",
        "prompt": hashlib.sha256("a cät 0".encode()).hexdigest(),
        "image_a": hashlib.sha256(b"8x6 " + bytes([255, 0, 0]) * 48).hexdigest(),
        "image_b": hashlib.sha256(b"8x6 " + bytes([0, 0, 255]) * 48).hexdigest(),
    }
    assert [json.loads(line)["preferred"] for line in lines] == ["a", None, "b"]
    assert digest == hashlib.sha256(b"".join(lines)).hexdigest()
    assert json.loads(last) == {"format": "lit_listener manifest 1", "pairs": 3, "digest": digest}
    assert write_manifest(pairs, tmp_path / "again.jsonl") == digest
    assert [name.name for name in path.parent.iterdir()] == ["test.jsonl"]
    known, read = read_manifest(path)
    assert (list(known), read) == (["p0", "p1", "p2"], digest)


def test_the_same_pairs(pairs, tmp_path):
    write_manifest(pairs, tmp_path / "m")
    found = check_manifest(pairs, tmp_path / "m")
    assert not found
    assert found.lines() == []


def test_what_differs_is_told(pairs, make_pair, tmp_path):
    write_manifest(pairs, tmp_path / "m")
    wide = Image.new("RGB", (6, 8), "red")  # the same bytes in another shape
    now = [
        make_pair(0.8, pair_id="p0", prompt="a cät 0", image_a=wide, votes=14),
        make_pair(0.4, pair_id="p2", prompt="a cat 2"),
        make_pair(pair_id="new"),
    ]
    found = check_manifest(now, tmp_path / "m")
    assert found
    assert (found.missing, found.added, found.reordered) == (("p1",), ("new",), False)
    assert found.changed == {"p0": ("votes", "image_a"), "p2": ("share_a", "prompt")}
    assert found.lines() == [
        "1 pairs are missing: p1",
        "1 pairs are not in the manifest: new",
        "1 pairs have another votes: p0",
        "1 pairs have another image_a: p0",
        "1 pairs have another share_a: p2",
        "1 pairs have another prompt: p2",
    ]


def test_another_order_is_a_difference(pairs, tmp_path):
    write_manifest(pairs, tmp_path / "m")
    found = check_manifest(pairs[::-1], tmp_path / "m")
    assert found.reordered
    assert found.lines() == ["the pairs are the same, in another order"]
    assert not check_manifest(pairs[:2], tmp_path / "m").reordered


class Broken(list):
    def __getitem__(self, index):
        if index == 1:
            raise ValueError("t.jsonl, row 1: cannot read it")
        return super().__getitem__(index)


def test_an_unreadable_pair(pairs, tmp_path):
    with pytest.raises(ValueError, match="row 1: cannot read it"):
        write_manifest(Broken(pairs), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    write_manifest(pairs, tmp_path / "m")
    found = check_manifest(Broken(pairs), tmp_path / "m")
    assert found.missing == ("p1",)
    assert found.lines()[1] == "1 pairs are unreadable: place 1 (t.jsonl, row 1: cannot read it)"


def test_pairs_that_cannot_be_told_apart(pairs, tmp_path):
    with pytest.raises(ValueError, match="two pairs have the id 'p0'"):
        write_manifest([pairs[0], pairs[0]], tmp_path / "m")
    with pytest.raises(ValueError, match="there are no pairs to write a manifest of"):
        write_manifest([], tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_was_changed_is_refused(pairs, tmp_path):
    path = tmp_path / "m"
    write_manifest(pairs, path)
    whole = path.read_text()
    for text, message in [
        (whole.replace("0.8", "0.9"), "it was changed"),
        ("".join(whole.splitlines(keepends=True)[1:]), "it was changed"),
        ("".join(whole.splitlines(keepends=True)[:-1]), "expected a manifest that ends in a line with its format"),
        (whole[:-20], "expected a manifest that ends in a line with its format"),
        ("", "expected a manifest that ends in a line with its format"),
        ("hello\n" + whole, "not a line of a manifest: b'hello"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            check_manifest(pairs, path)
    with pytest.raises(FileNotFoundError):
        check_manifest(pairs, tmp_path / "none")
