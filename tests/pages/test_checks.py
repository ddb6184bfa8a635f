"""Which pages are usable: each is checked once, and every problem is reported."""

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from random import Random

import msgspec
import pytest
from mutated_images import SIGNATURE, png_chunk
from PIL import Image

from mfuscope.pages import checks
from mfuscope.pages.checks import check_pages, known_pages, skipped_page
from mfuscope.pages.decoding import DecodedPage, PageFacts, decode_page, digest_page
from mfuscope.pages.discovery import UnusablePage, find_pages, page_id


def check(
    folder: Path, known: dict[str, PageFacts] | None = None, max_megapixels: float = 150
) -> tuple[dict[str, PageFacts], list[UnusablePage]]:
    return check_pages(find_pages(folder)[0], known or {}, max_megapixels)


def problems(folder: Path, known: dict[str, PageFacts] | None = None) -> list[str]:
    return [page.error.problem for page in check(folder, known)[1]]


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header states any size."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width // 8 + 1) * height), 9)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return SIGNATURE + chunks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two usable pages among unusable ones of every kind."""
    folder = tmp_path / "pages"
    folder.mkdir()
    noise = Image.frombytes("RGB", (64, 64), Random(0).randbytes(64 * 64 * 3))
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
    noise.save(folder / "future.png")
    os.utime(folder / "future.png", (4e9, 4e9))
    noise.save(folder / "{word}.png")
    noise.save(os.fsencode(folder) + b"/no\xffutf8.png", "PNG")
    return folder


REASONS = {
    "bomb.png": "20000 x 20000 pixels are 400 megapixels, the limit max_image_megapixels is 150",
    "cut.jpg": "truncated",
    "cut.png": "truncated",
    "cut.tif": "",
    "cut.webp": "",
    "empty.png": "it is empty",
    "future.png": "is dated in the future (2096-10-02T07:06:40+00:00)",
    "nowhere.png": "No such file or directory",
    "text.png": "its content is no image of a known kind",
}
PATH_REASONS = {
    "{word}.png": "holds '{word}', which the workflow engine would replace",
    r"no\xffutf8.png": "is no valid UTF-8",
}


def test_every_unusable_page_is_reported_in_one_line(folder: Path) -> None:
    assert (folder / "bomb.png").stat().st_size < 100_000
    facts, unusable = check(folder)
    assert list(facts) == ["good.jpg", "good.png"]
    assert [page.id for page in unusable] == list(REASONS)
    for page in unusable:
        line = str(page.error)
        assert line.startswith("images: ")
        assert str(page.path) in line
        assert REASONS[page.id] in line
        assert "Remedy: " in line
        assert "on_bad_image: skip" in line
        assert line.isprintable()


def test_results_can_record_every_page_that_is_left_out(folder: Path) -> None:
    unusable = [*find_pages(folder)[1], *check(folder)[1]]
    skipped = {Path(page.path).name: page for page in map(skipped_page, unusable)}
    reasons = REASONS | PATH_REASONS
    assert skipped.keys() == reasons.keys()
    for name, page in skipped.items():
        assert reasons[name] in page.reason
        assert "Remedy" not in page.reason
        assert page_id(name) == page.image or "xff" in page.path
    msgspec.json.encode(list(skipped.values()))


def test_facts_are_those_of_the_decoded_pages_in_order(folder: Path) -> None:
    pages = dict(reversed(find_pages(folder)[0].items()))
    facts, unusable = check_pages(pages, {}, 150)
    assert list(facts) == ["good.png", "good.jpg"]
    assert [page.id for page in unusable] == list(REASONS)[::-1]
    for name, one in facts.items():
        assert one == decode_page(folder / name, 150).facts == PageFacts(one.sha256, 64, 64, 1)
        assert one.sha256 == digest_page(folder / name)


def test_the_limit_on_pixels_is_an_argument(tmp_path: Path) -> None:
    (tmp_path / "strip.png").write_bytes(png_of(20_000, 100))  # a long side alone is no reason
    facts, unusable = check(tmp_path)
    assert (facts["strip.png"].width, facts["strip.png"].height, unusable) == (20_000, 100, [])
    known = {str(tmp_path / "strip.png"): facts["strip.png"]}
    for before in ({}, known):
        facts, (page,) = check(tmp_path, before, max_megapixels=1.9)
        assert facts == {}
        assert "2 megapixels, the limit max_image_megapixels is 1.9" in page.error.problem
        assert "raise max_image_megapixels" in page.error.remedy
        assert check(tmp_path, before, max_megapixels=2)[1] == []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to which page."""
    made: list[str] = []

    def decode(path: Path, max_megapixels: float) -> DecodedPage:
        made.append(f"decode {path.name}")
        return decode_page(path, max_megapixels)

    def digest(path: Path) -> str:
        made.append(f"digest {path.name}")
        return digest_page(path)

    monkeypatch.setattr(checks, "decode_page", decode)
    monkeypatch.setattr(checks, "digest_page", digest)
    return made


def test_a_new_page_is_decoded_once_and_a_known_one_only_digested(
    tmp_path: Path, calls: list[str]
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    facts, _ = check(tmp_path)
    assert sorted(calls) == ["decode a.png", "decode b.png"]
    known = {str(tmp_path / name): one for name, one in facts.items()}
    calls.clear()
    assert check(tmp_path, known) == (facts, [])
    assert sorted(calls) == ["digest a.png", "digest b.png"]
    calls.clear()
    Image.new("RGB", (40, 20)).save(tmp_path / "b.png")  # other content of the same name
    changed, _ = check(tmp_path, known)
    assert (changed["a.png"], changed["b.png"].width) == (facts["a.png"], 40)
    assert calls.count("decode b.png") == 1
    assert "decode a.png" not in calls


def test_a_known_page_may_become_unusable(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    Image.new("RGB", (30, 20)).save(path)
    known = {str(path): check(tmp_path)[0]["page.png"]}
    os.utime(path, (4e9, 4e9))
    assert ["is dated in the future" in one for one in problems(tmp_path, known)] == [True]
    path.write_bytes(b"text")
    assert ["no image" in one for one in problems(tmp_path, known)] == [True]


@pytest.mark.parametrize(("ahead_s", "usable"), [(-1e6, True), (20, True), (90, False)])
def test_clocks_may_differ_by_a_minute(ahead_s: float, usable: bool, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    Image.new("RGB", (30, 20)).save(path)
    os.utime(path, (time.time() + ahead_s,) * 2)
    assert (problems(tmp_path) == []) == usable


TABLE = "image,path,sha256,width,height,frames,category\n"


def test_pages_are_known_from_an_earlier_table(tmp_path: Path) -> None:
    table = tmp_path / "inputs.csv"
    assert known_pages(table) == {}
    table.write_text(TABLE + "a.png,pages/a.png,ab,30,20,1,\nb.png,pages/b.png,cd,5,6,7,x\n")
    assert known_pages(table) == {
        "pages/a.png": PageFacts("ab", 30, 20, 1),
        "pages/b.png": PageFacts("cd", 5, 6, 7),
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"path,sha256\n/page.png,ab\n",
        TABLE.encode() + b"a.png,pages/a.png,ab,3",
        TABLE.encode() + b"a.png,pages/a.png,ab,wide,20,1,\n",
        TABLE.encode() + "日本語.png".encode()[:-5],  # ends within a character
        TABLE.encode() + 140_000 * b"\0",
    ],
)
def test_a_damaged_table_knows_no_page(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inputs.csv").write_bytes(content)
    assert known_pages(tmp_path / "inputs.csv") == {}


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Pages for which libraries print something: PIL a warning, libtiff an error."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    palette = Image.frombytes("L", (16, 16), bytes(range(256))).convert("RGB").quantize(16)
    palette.save(folder / "alpha.png", transparency=bytes(range(16)))
    # The same noise each time: what libtiff prints depends on where its codes are broken.
    noise = Image.frombytes("RGB", (64, 64), Random(0).randbytes(64 * 64 * 3))
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        path = folder / f"{compression}.tif"
        noise.save(path, compression=compression)
        content = path.read_bytes()
        path.write_bytes(content[:1000] + bytes(5000) + content[6000:])
    return folder


def printed_by(code: str, *arguments: str) -> str:
    """What a process of its own writes to its standard error stream."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr


CHECK = """
import sys
from pathlib import Path
from mfuscope.pages.checks import check_pages
from mfuscope.pages.discovery import find_pages
facts, unusable = check_pages(find_pages(Path(sys.argv[1]))[0], {}, 150)
assert list(facts) == ["alpha.png"]
assert [page.id for page in unusable] == ["tiff_adobe_deflate.tif", "tiff_lzw.tif"]
print("ours", file=sys.stderr)
"""

DECODE = """
import sys
from pathlib import Path
from mfuscope.core.errors import UserError
from mfuscope.pages.decoding import decode_page
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode_page(path, 150)
    except UserError as error:
        print(error, file=sys.stderr)
"""


def test_libraries_print_nothing_while_pages_are_checked(noisy: Path) -> None:
    assert printed_by(CHECK, str(noisy)) == "ours\n"


def test_a_job_log_has_what_libraries_print(noisy: Path) -> None:
    text = printed_by(DECODE, str(noisy))
    for said in ("Palette images with Transparency", "LZWDecode: ", "ZIPDecode: "):
        assert said in text
    assert text.count("images: cannot read") == 2
