"""Pictures from files: decoded once, bounded, upright, and nothing of them but their pixels."""

import io
import os
import struct
import zlib

import pytest
from PIL import Image

from sdperf.errors import ConfigurationError
from sdperf.images import input_files
from sdperf.images.input_files import (
    compute_pixels_sha256,
    default_mask,
    default_picture,
    fit_picture,
    read_mask,
    read_picture,
)
from sdperf.record.workload import DEFAULT_MASK_SHA256, DEFAULT_PICTURE_SHA256
from tools.draw_input_picture import draw

RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)


@pytest.fixture
def halves():
    """Red above blue."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (0, 8, 32, 16))
    return image


@pytest.fixture
def save(tmp_path):
    def write(image, name="picture.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def read(path):
    return read_picture(path, "--sd-input-image")


def refused(path, match, reader=read_picture):
    with pytest.raises(ConfigurationError, match=match) as error:
        reader(path, "--sd-input-image")
    assert "--sd-input-image" in str(error.value) or error.value.hint


def test_the_picture_that_ships_is_the_one_that_is_drawn():
    assert default_picture().sha256 == compute_pixels_sha256(draw()) == DEFAULT_PICTURE_SHA256
    assert default_mask().sha256 == DEFAULT_MASK_SHA256
    assert len(default_picture().png) < 64_000


def test_the_hash_names_pixels_and_neither_file_nor_compression(halves, save):
    one = read(save(halves, "one.png", compress_level=0))
    other = read(save(halves, "other.png", compress_level=9))
    assert one == other
    assert one.sha256 == compute_pixels_sha256(halves)
    halves.putpixel((0, 0), (201, 30, 30))
    assert read(save(halves, "third.png")) != one
    # Equal bytes in another shape are another picture.
    assert compute_pixels_sha256(Image.new("RGB", (8, 16))) != compute_pixels_sha256(
        Image.new("RGB", (16, 8))
    )


def test_a_camera_s_picture_is_turned_upright_and_says_nothing_of_itself(halves, save):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "a camera"  # upside down
    turned = read(save(halves, "turned.png", exif=exif))
    assert turned.decode().getpixel((0, 0)) == BLUE
    assert turned.decode().info == {}
    assert b"a camera" not in turned.png


def test_what_is_transparent_lies_on_white(save):
    assert read(save(Image.new("RGBA", (8, 8), (*RED, 0)))).decode().getpixel((0, 0)) == WHITE
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    assert read(save(palette, transparency=0)).decode().getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pictures_of_eight_bits_are_taken(save, mode):
    assert read(save(Image.new(mode, (8, 8)))).decode().mode == "RGB"


def test_a_jpeg_is_taken(halves, save):
    assert read(save(halves, "picture.jpg", quality=95)).decode().size == (32, 16)


def test_deeper_pixels_are_refused_before_they_would_be_clipped(save):
    refused(save(Image.new("I;16", (8, 8), 40_000)), "mode I;16.*8 bits a channel")


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "webp", "ppm"])
def test_other_kinds_are_not_even_tried(halves, save, kind):
    path = save(halves, f"picture.{kind}").rename(save(halves).with_name("called.png"))
    refused(path, "called.png is no PNG or JPEG that can be read; got: ")


@pytest.mark.parametrize("part", [0, 20, 60])
def test_a_file_that_ends_early(halves, save, part):
    path = save(halves)
    path.write_bytes(path.read_bytes()[:part])
    refused(path, "cannot be decoded|is no PNG or JPEG")


def chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_sixteen_bits_are_refused_although_pil_opens_them(
    tmp_path, colour_type, channels
):
    rows = (b"\0" + bytes(16 * channels * 2)) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 16, colour_type, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip
    refused(path, "16 bits a channel.*8 bits a channel")


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    for edge in (8000, 60_000):
        header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
        path = tmp_path / f"{edge}.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
        )
        refused(path, "too many pixels.*at most 50,000,000")


def test_a_file_too_large_is_not_read_whole(halves, save, monkeypatch):
    monkeypatch.setattr(input_files, "MOST_FILE_BYTES", 10)
    refused(save(halves), "too large")


@pytest.mark.parametrize("name", ["absent.png", "."])
def test_what_is_no_file_is_refused(tmp_path, name):
    refused(tmp_path / name, "is no file")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "is no file.*a folder or a device")


def test_a_picture_of_a_few_pixels_is_refused(save):
    refused(save(Image.new("RGB", (8, 7))), "too small.*8 x 7")


def test_an_animation_is_refused(halves, save):
    path = save(halves, save_all=True, append_images=[Image.new("RGB", (32, 16), BLUE)])
    refused(path, "an animation")


def test_a_mask_has_to_have_a_white_part(save):
    mask = Image.new("L", (16, 8), 0)
    refused(save(mask), "nothing of the mask", read_mask)
    mask.paste(255, (0, 0, 8, 8))
    assert read_mask(save(mask), "--sd-mask").decode().getpixel((0, 0)) == 255
    transparent = Image.new("RGBA", (16, 8), (255, 255, 255, 0))
    refused(save(transparent), "nothing of the mask", read_mask)


def test_the_default_mask_is_the_middle():
    mask = default_mask().decode()
    values = [mask.getpixel((x, 256)) for x in (0, 127, 128, 383, 384, 511)]
    assert values == [0, 0, 255, 255, 0, 0]
    assert mask.histogram()[255] * 4 == 512 * 512


def test_a_picture_is_cut_to_a_request_s_shape_and_not_squeezed():
    wide = Image.new("RGB", (64, 16), RED)
    wide.paste(BLUE, (24, 0, 40, 16))
    fitted = fit_picture(wide, 32, 32)
    assert fitted.size == (32, 32)
    assert fitted.getpixel((16, 16)) == BLUE
    red, _, blue = fitted.getpixel((0, 0))
    assert blue > 2 * red  # the red ends are cut away
    mask = Image.new("L", (30, 30), 0)
    mask.paste(255, (0, 0, 15, 30))
    assert {value for _, value in fit_picture(mask, 64, 64).getcolors()} == {0, 255}


def test_what_travels_is_a_png_of_pixels(halves, save):
    file = read(save(halves))
    assert Image.open(io.BytesIO(file.png)).format == "PNG"
    assert "png" not in repr(file)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"not a picture, but words", "text that begins with 'not a picture, b'"),
        (b"\x00\x01\x02", "a file that begins with b'\\x00"),
        (b"\x89PNG\r\n", "a PNG whose header is damaged"),
    ],
)
def test_what_is_no_picture_is_told_by_its_first_bytes(tmp_path, content, kind):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as error:
        read(path)
    assert error.value.got.startswith(kind)
    assert " at 0x" not in str(error.value)
