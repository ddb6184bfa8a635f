"""Pages that cannot be measured: found before anything is, and all at once."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from checkouts import ROOT
from PIL import Image

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.core.errors import Findings, UserErrors
from mfuscope.pages.checks import known_pages, note_skipped, noted_skipped, undecodable
from mfuscope.pages.headers import limit_pixels
from mfuscope.pages.images import file_sha256, image_id, list_images
from mfuscope.pages.preprocess import read_page
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")


def plan_of(folder: Path, **settings: Any) -> Plan:
    file = {"images": str(folder), "device": "cpu"} | settings
    settled = resolve_settings(file=file, command_line={}, environment={}, schema=SCHEMA)
    return make_plan(settled, ROOT / "config" / "models")


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width // 8 + 1) * height), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pages among bad ones of every kind."""
    folder = tmp_path / "pages"
    folder.mkdir()
    noise = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    noise.save(folder / "good.png")
    noise.save(folder / "good.jpg")
    for name in ("cut.png", "cut.jpg", "cut.tif", "cut.webp"):
        noise.save(folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    (folder / "bomb.png").write_bytes(png_of(20_000, 20_000))
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    noise.save(folder / "{word}.png")
    noise.save(os.fsencode(folder) + b"/no\xffutf8.png", "PNG")
    return folder


REASONS = {
    "cut.png": "truncated",
    "cut.jpg": "truncated",
    "cut.tif": "",
    "cut.webp": "",
    "empty.png": "it is empty",
    "text.png": "its content is no image of a known kind",
    "bomb.png": "20000 x 20000 pixels are 400 megapixels, the limit max_image_megapixels is 150",
    "nowhere.png": "No such file or directory",
    "{word}.png": "holds '{word}', which the workflow engine would replace",
    r"no\xffutf8.png": "is no valid UTF-8",
}


def test_every_bad_page_is_told_on_a_line_of_its_own(folder: Path) -> None:
    assert (folder / "bomb.png").stat().st_size < 100_000
    with pytest.raises(UserErrors) as caught:
        plan_of(folder).vetted(known={})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(REASONS)
    for name, reason in REASONS.items():
        (line,) = [line for line in lines if f"{name}'".replace(r"\x", r"\udc") in line]
        assert line.startswith("images: ")
        assert reason in line
        assert "Remedy: " in line
        assert "on_bad_image: skip" in line


def test_bad_pages_may_be_skipped(folder: Path) -> None:
    plan = plan_of(folder, on_bad_image="skip").vetted(known={})
    assert list(plan.images) == ["good.jpg", "good.png"]
    assert {Path(page.path).name for page in plan.skipped} == set(REASONS)
    for page in plan.skipped:
        assert REASONS[Path(page.path).name] in page.reason
        assert "Remedy" not in page.reason
        assert image_id(Path(page.path).name) == page.image or "xff" in page.path
    msgspec.json.encode(plan.skipped)
    assert [row["image"] for row in plan.pages()] == ["good.jpg", "good.png"]


def test_skipping_all_pages_is_an_error(folder: Path) -> None:
    for path in folder.glob("good.*"):
        path.unlink()
    with pytest.raises(UserErrors):
        plan_of(folder, on_bad_image="skip").vetted(known={})


def test_what_only_decoding_shows_waits_for_a_measurement(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith(("cut.", "good.")):
            path.unlink()
    for name in ("cut.tif", "cut.webp"):  # whose headers lie at their ends, or tell the length
        (folder / name).unlink()
    plan = plan_of(folder)
    assert plan.vetted(known={}) is plan
    with pytest.raises(UserErrors) as caught:
        plan.check_decodable(known={})
    assert len(str(caught.value).splitlines()) == 2


def test_the_limit_on_pixels_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFUSCOPE_MAX_IMAGE_MEGAPIXELS", "150")
    (tmp_path / "strip.png").write_bytes(png_of(20_000, 100))  # a long side alone is no reason
    plan_of(tmp_path).vetted(known={})
    assert read_page(tmp_path / "strip.png").size == (20_000, 100)
    limit_pixels(1.9)
    with pytest.raises(UserErrors, match=r"2 megapixels, the limit max_image_megapixels is 1\.9"):
        plan_of(tmp_path).vetted(known={})
    limit_pixels(500)
    (tmp_path / "strip.png").write_bytes(png_of(20_000, 20_000))
    plan_of(tmp_path).vetted(known={})


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    variants = {"a": {"model": "nowhere/at/all"}, "b": {"model": "deepseek-ocr-nan0"}}
    with pytest.raises(UserErrors) as caught:
        plan_of(tmp_path, device="cuda:63", variants=variants, flops={"models": ["none"]})
    lines = str(caught.value).splitlines()
    said = ("'cuda:63' is not there", "'nowhere/at/all'", "'deepseek-ocr-nan0'", "flops.models")
    assert len(lines) == len(said) + 1
    for text in (*said, "holds no image"):
        assert sum(text in line for line in lines) == 1


def test_wrong_settings_hide_nothing_else(folder: Path) -> None:
    """Neither each other, nor what is wrong with models, combinations, lengths and pages."""
    findings = Findings()
    settings = resolve_settings(
        file={
            "images": str(folder),
            "device": "cpu",
            "model": "deepseek-ocr-nano",
            "variants": {
                "typed": {"dtype": "q"},
                "a b": {},
                "flash": {"attention": "flash", "prompt": "<image>x"},
                "long": {"max_new_tokens": 100_000},
                "lost": {"model": "nowhere/at/all"},
            },
        },
        command_line={"repeats": "0"},
        environment={"DSOCR_IMAGES": "x"},
        schema=SCHEMA,
        findings=findings,
    )
    with pytest.raises(UserErrors) as caught:
        make_plan(settings, ROOT / "config" / "models", known={}, findings=findings)
    lines = str(caught.value).splitlines()
    wrong = ["'variants.typed.dtype'", "'a b'", "'flash' runs", "'<image>'", "tokens, and"]
    wrong += ["'nowhere/at/all'", "'repeats' is 0", "DSOCR_IMAGES"]
    for text in wrong:
        assert sum(text in line for line in lines) == 1, text
    assert sum(line.startswith("images: ") for line in lines) == len(REASONS)
    assert len(lines) == len(wrong) + len(REASONS)


def test_every_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(UserErrors) as caught:
        resolve_settings(
            file={"reapeats": 3, "warmup": -1, "profiler": {"shapes": 1, "stack": 1}},
            command_line={"repeats": "none"},
            environment={"MFU_PEAK_TFLOPS": "fast", "DSOCR_USE_FLASH_ATTN": "maybe"},
            schema=SCHEMA,
        )
    lines = str(caught.value).splitlines()
    wrong = ("'reapeats'", "'warmup'", "'profiler.shapes'", "'profiler.stack'", "'repeats' is")
    for text in (*wrong, "'peak_tflops'", "DSOCR_USE_FLASH_ATTN"):
        assert sum(text in line for line in lines) == 1
    assert len(lines) == 7
    assert all("Remedy: " in line for line in lines)


def test_pages_known_by_content_are_not_decoded_again(tmp_path: Path) -> None:
    bad = tmp_path / "page.png"
    bad.write_bytes(b"text")
    images = {image.id: image for image in list_images(tmp_path).pages}
    table = tmp_path / "inputs.csv"
    table.write_text(f"path,sha256\n{bad},{file_sha256(bad)}\n")

    def found() -> list[str]:
        return list(undecodable(images, known_pages(table), lambda key: file_sha256(bad)))

    assert found() == []
    bad.write_bytes(b"other text")
    assert found() == ["page.png"]
    assert known_pages(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    "content",
    [
        "path,sha256\n/日本語.png,ab".encode()[:15],
        b"path,sha256\n" + 140_000 * b"\0",
        b"",
    ],
)
def test_a_damaged_table_knows_no_page(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inputs.csv").write_bytes(content)
    assert known_pages(tmp_path / "inputs.csv") == {}


def test_skipped_pages_are_noted_for_jobs_elsewhere(folder: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    note_skipped(note, [])
    assert not note.exists()
    assert noted_skipped(note) == []
    plan = plan_of(folder, on_bad_image="skip")
    vetted = plan.vetted(known={})
    note_skipped(note, vetted.skipped)
    assert plan.without(noted_skipped(note)) == vetted
    note_skipped(note, [])  # the next call skips nothing
    assert noted_skipped(note) == []


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Pages that libraries have something to say about: PIL a warning, libtiff an error."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    palette = Image.frombytes("L", (16, 16), bytes(range(256))).convert("RGB").quantize(16)
    palette.save(folder / "alpha.png", transparency=bytes(range(16)))
    # The same noise each time: what libtiff says of it depends on where its codes are broken.
    noise = Image.frombytes("RGB", (64, 64), Random(0).randbytes(64 * 64 * 3))
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        path = folder / f"{compression}.tif"
        noise.save(path, compression=compression)
        content = path.read_bytes()
        path.write_bytes(content[:1000] + bytes(5000) + content[6000:])
    return folder


def said_by(code: str, *arguments: str) -> str:
    """What a process of its own writes to its standard error stream."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr


VET = """
import sys
from pathlib import Path
from mfuscope.images import list_images
from mfuscope.vetting import header_sizes, undecodable
images = {image.id: image for image in list_images(Path(sys.argv[1])).pages}
assert len(header_sizes(images)[0]) == 3
assert sorted(undecodable(images, {}, str)) == ["tiff_adobe_deflate.tif", "tiff_lzw.tif"]
print("ours", file=sys.stderr)
"""

INSPECT = """
import sys
from pathlib import Path
from mfuscope.errors import UserError
from mfuscope.images import inspect_pages, list_images
from mfuscope.jobs import job_log
with job_log(sys.argv[2]):
    for image in list_images(Path(sys.argv[1])).pages:
        try:
            inspect_pages([{"path": str(image.path), "height": 1}])
        except UserError as error:
            print(error)
"""


def test_libraries_are_not_heard_on_the_terminal(noisy: Path) -> None:
    assert said_by(VET, str(noisy)) == "ours\n"


def test_libraries_are_heard_in_a_jobs_log(noisy: Path, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    assert said_by(INSPECT, str(noisy), str(log)) == ""
    text = log.read_text()
    for said in ("Palette images with Transparency", "LZWDecode: ", "ZIPDecode: "):
        assert said in text
    assert text.count("images: cannot read") == 2
