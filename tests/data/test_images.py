import io
import struct
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from lit_listener.data.images import is_url, open_image

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue, wider than high."""
    image = Image.new("RGB", (8, 4), RED)
    image.paste(BLUE, (4, 0, 8, 4))
    return image.convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_path_and_its_bytes_give_the_same_rgb_image(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(encoded(halves(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    for source in (path, str(path), path.read_bytes()):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", (8, 4))
        assert image.tobytes() == halves().tobytes()


def test_a_file_is_closed_when_its_image_is_read(tmp_path):
    path = tmp_path / "picture.png"
    halves().save(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = [open_image(path) for _ in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert images[0].getpixel((0, 0)) == RED  # and its pixels are there all the same


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    # The EXIF standard: 1 as it is, 3 by half a turn, 6 stored a quarter turn to the left of upright, 8 to the right.
    [(1, (8, 4), RED), (2, (8, 4), BLUE), (3, (8, 4), BLUE), (6, (4, 8), RED), (8, (4, 8), BLUE)],
)
def test_exif_rotation_is_honoured(orientation, size, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(halves(), "PNG", exif=exif))
    assert image.size == size
    assert image.getpixel((0, 0)) == corner
    assert open_image(encoded(image, "PNG", exif=image.getexif())).tobytes() == image.tobytes()  # not turned twice


def test_transparent_parts_are_white():
    image = Image.new("RGBA", (3, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    image.putpixel((2, 0), (0, 0, 0, 51))  # 51 / 255 is a fifth: 255 - 51 = 204
    assert list(open_image(encoded(image)).get_flattened_data()) == [WHITE, RED, (204, 204, 204)]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_is_white(mode):
    image = Image.new(mode, (2, 1), 0)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), {"P": 1, "L": 200, "RGB": RED}[mode])
    read = open_image(encoded(image, transparency=(0, 0, 0) if mode == "RGB" else 0))
    assert list(read.get_flattened_data()) == [WHITE, (200, 200, 200) if mode == "L" else RED]


def test_grey_with_alpha():
    assert open_image(encoded(Image.new("LA", (1, 1), (0, 0)))).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greys_keep_their_tones(kind):
    tones = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    read = open_image(encoded(Image.fromarray(tones), kind))
    # The high byte: 256 / 256 = 1, 32768 / 256 = 128. Pillow's own conversion gives 255 from 256 up.
    assert [red for red, *_ in read.get_flattened_data()] == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("L", "JPEG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF")]
)
def test_other_modes_become_rgb(mode, kind):
    image = open_image(encoded(Image.new("RGB", (16, 16), WHITE).convert(mode), kind))
    assert image.mode == "RGB"
    assert np.asarray(image).min() >= 250


def test_cmyk_colours():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert open_image(encoded(red, "TIFF")).getpixel((8, 8)) == RED


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, WHITE)]
    animation = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with Image.open(io.BytesIO(animation)) as opened:
        assert opened.n_frames == 3
    red, green, blue = open_image(animation).getpixel((4, 4))
    assert red > 245
    assert max(green, blue) < 10


def test_floating_point_pixels_are_refused():
    floats = Image.fromarray(np.ones((2, 2), dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"cannot read .*: floating-point pixels have no fixed range; save it with 8 or"
    ):
        open_image(encoded(floats, "TIFF"))


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.6])
def test_a_truncated_image_is_an_error_with_its_path(tmp_path, kind, kept):
    path = tmp_path / "cut.img"
    whole = encoded(noise(), kind)
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"cannot read .*cut\.img: ."):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<html>not found</html>", bytes(1000)])
def test_what_is_no_image_is_an_error_with_its_path(tmp_path, content):
    path = tmp_path / "page.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*page\.png: ."):
        open_image(path)
    with pytest.raises(ValueError, match=f"cannot read an image of {len(content)} bytes: ."):
        open_image(content)


def test_flipped_bytes_are_an_error():
    png = bytearray(encoded(noise()))
    png[len(png) // 2] ^= 0xFF
    with pytest.raises(ValueError, match="cannot read an image of"):
        open_image(bytes(png))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no image .*gone\.png"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"cannot read .*: .*directory"):
        open_image(tmp_path)


@pytest.mark.parametrize(
    "url", ["http://x.org/a.png", "HTTPS://x.org/a.png", "s3://b/a.png", "data:image/png;base64,AA"]
)
def test_urls_are_refused(url):
    assert is_url(url)
    with pytest.raises(ValueError, match="images are read from files, not from URLs: download "):
        open_image(url)


@pytest.mark.parametrize("path", ["a.png", "folder/a.png", "/folder/a.png", "C:\\a.png", "C:/a.png", "a:b.png"])
def test_paths_are_no_urls(path):
    assert not is_url(path)


def test_a_long_url_is_cut_short():
    with pytest.raises(ValueError, match=r"download data:image/png;base64,A+\.\.\. first$") as caught:
        open_image("data:image/png;base64," + "A" * 100_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_pixels": 31}, "its 8x4 pixels are more than max_pixels=31"),
        ({"min_pixels": 33}, "its 8x4 pixels are fewer"),
    ],
)
def test_too_many_or_too_few_pixels(limits, message):
    with pytest.raises(ValueError, match=f"cannot read an image of .* bytes: {message}"):
        open_image(encoded(halves()), **limits)
    assert open_image(encoded(halves()), min_pixels=32, max_pixels=32).size == (8, 4)


@pytest.mark.parametrize("side", [8_000, 100_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    # Above twice Pillow's own limit the refusal is Pillow's, below it is ours.
    with pytest.raises(ValueError, match=r"cannot read an image of .* bytes: .*(more than max_pixels=50000000|bomb)"):
        open_image(bomb)


class Pictures(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path == "/gone.png" else 200)
        self.end_headers()
        self.wfile.write(encoded(halves()))

    def log_message(self, *args):
        pass


@pytest.fixture
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_urls_are_fetched_where_that_is_asked_for(address, monkeypatch):
    with pytest.raises(ValueError, match="images are read from files, not from URLs"):
        open_image(f"{address}/a.png")
    assert open_image(f"{address}/a.png", allow_urls=True).tobytes() == halves().tobytes()
    with pytest.raises(ValueError, match=r"cannot fetch http://127.*/gone\.png: HTTP Error 404"):
        open_image(f"{address}/gone.png", allow_urls=True)
    monkeypatch.setattr("lit_listener.data.images.MAX_FETCHED_BYTES", 20)
    with pytest.raises(ValueError, match=r"cannot fetch .*a\.png: it has more than 20 bytes"):
        open_image(f"{address}/a.png", allow_urls=True)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "data:image/png;base64,AA"])
def test_only_http_is_fetched(url):
    with pytest.raises(ValueError, match="images are read from files, not from URLs"):
        open_image(url, allow_urls=True)
