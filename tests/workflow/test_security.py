"""Nothing trusted: no code from files, no shell built of names, no private name in results."""

import ast
import gzip
import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import pytest
from calls import encoded_call
from checkouts import FIRST, ROOT, SAMPLES, SETTINGS, Checkout, make_checkout
from checkpoints import MODELS, write_llava, write_published
from PIL import Image, ImageOps

from mfuscope.core.errors import UserError, WorkerError
from mfuscope.core.text import lines, one_line
from mfuscope.pages.discovery import page_id
from mfuscope.workflow.call import VARIABLE

# --- what is shown -------------------------------------------------------------------------------

HOSTILE = "a\x1b[2J\x07\r\nb\u202e\x9b\udcff é 日本 👍"
SPELT = "a\\x1b[2J\\x07\\r\\nb\\u202e\\x9b\\udcff é 日本 👍"


def test_what_cannot_be_seen_is_spelt_out() -> None:
    assert one_line(HOSTILE) == SPELT
    assert lines("a\tb\nc\x1b") == "a\tb\nc\\x1b"
    assert str(UserError(HOSTILE, "rename it")) == f"{SPELT}. Remedy: rename it."
    assert str(WorkerError("two\nlines\x1b")) == "two\nlines\\x1b"


@pytest.mark.parametrize("kind", ["UserError(name, 'rename it')", "ValueError(name)"])
def test_the_last_line_of_a_log_is_one_that_can_be_seen(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    code = (
        "import sys\n"
        "from mfuscope.core.errors import UserError\n"
        "from mfuscope.workflow.joblog import job_log\n"
        f"name = {HOSTILE!r}\n"
        f"with job_log(sys.argv[1]):\n    raise {kind}\n"
    )
    environment = os.environ | {VARIABLE: encoded_call(os.getpid())}
    done = subprocess.run([sys.executable, "-c", code, str(log)], env=environment, check=False)
    assert done.returncode == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("mfuscope: ")
    assert last.isprintable()
    assert "\\x1b[2J" in last


# --- no code from files --------------------------------------------------------------------------

CODE = ("src", "workflow/scripts", "benchmarks")
# What ruff's security rules find there, and why it is no danger.
KNOWN = {
    ("src/mfuscope/core/versions.py", "S603"),  # git, with fixed words, as a list
    ("src/mfuscope/core/versions.py", "S607"),
    ("src/mfuscope/workflow/hooks.py", "S603"),  # Snakemake on the same Snakefile, as a list
    ("src/mfuscope/workflow/submission.py", "S603"),  # what the executor asks Slurm, as a list
    ("src/mfuscope/worker/client.py", "S603"),  # this Python, with paths of ours, as a list
    ("src/mfuscope/worker/counting.py", "S603"),  # ncu around this Python, as a list
    ("src/mfuscope/measure/ncu.py", "S603"),  # ncu's version, as a list
    ("src/mfuscope/planning/order.py", "S311"),  # the order of runs is no secret
    ("src/mfuscope/worker/runtime.py", "S108"),  # what lies there is checked
    ("src/mfuscope/report/figures/style.py", "S704"),  # markup that matplotlib made
    ("benchmarks/common.py", "S603"),
    ("benchmarks/neighbours.py", "S603"),
}


def test_the_security_rules_find_nothing_new() -> None:
    """Also where a comment would have them look away: unpickling, eval, shells, YAML's loaders."""
    rules = ["--select", "S", "--ignore", "S101", "--ignore-noqa", "--isolated"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, "--output-format", "json", *CODE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        (Path(one["filename"]).relative_to(ROOT).as_posix(), one["code"])
        for one in json.loads(done.stdout)
    }
    assert found == KNOWN


def test_nothing_imports_what_reads_code_from_files() -> None:
    unwanted = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "code"}
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & unwanted, path


def test_rules_run_scripts_and_no_shell() -> None:
    """A shell command would be a string that Snakemake builds of file names."""
    for path in [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(shell|run|wrapper|notebook|cwl|container)\s*:", text, re.M), (
            path
        )
        assert not re.search(r"\bshell\(", text), path


# Reports what Python itself tells of every process: unpickling, new processes, and code compiled
# from a file in the model's folder.
WATCHED = """
import sys
folder = sys.argv[1]
seen = []

def watch(event, arguments):
    if event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        seen.append(event)
    if event in ("exec", "import") and folder in str(arguments[0]):
        seen.append(event)
    if event == "open" and str(arguments[0]).startswith(folder):
        opened.append(str(arguments[0]))

opened = []
import torch
import transformers
from pathlib import Path
from PIL import Image
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model

sys.addaudithook(watch)
spec = resolve_model(folder, "auto", Path(sys.argv[2]))
loaded = load_model(spec, "fp32", "sdpa", torch.device("cpu"))
made = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
page = Image.new("RGB", (60, 60))
tensors = made.make(page, "auto", torch.device("cpu"), torch.float32).tensors
loaded.model.generate(**tensors, max_new_tokens=2)
loads = len(seen)
import pickle
pickle.loads(pickle.dumps(Path("x")))
print(len(opened), loads, *seen[:loads], len(seen) > loads)
"""


@pytest.mark.faults
@pytest.mark.parametrize("write", [write_published, write_llava])
def test_models_load_without_unpickling_or_running_anything(write: object, tmp_path: Path) -> None:
    assert callable(write)
    write(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path / "model"), str(MODELS)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    opened, loads, *seen = done.stdout.split()
    assert int(opened) > 3, "the watch sees the folder's files"
    assert (loads, seen) == ("0", ["True"]), "and would see an unpickling"


# --- names of files, and what results tell -------------------------------------------------------

NAMES = [
    "$(touch marker) ; touch marker.png",
    "`touch marker` && 'touch' \"marker\"\n\x1b[31m| touch marker.png",
    "-rf --help.png",
    "x" * 196 + ".png",
    "صفحة 日本 страница.png",
    "case.png",
    "Case.png",
    "case.jpg",
]
# A page that cannot be read, and so is named on the terminal.
BAD = "bad\x1b[31m\nmfuscope: all is well.png"
# Whoever runs the workflow, and where: results are shown to others.
PRIVATE = {"HOME": "home-of-somebody", "USER": "user-somebody", "LOGNAME": "user-somebody"}
PLACE, HOST = "private place", "host-of-somebody"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str, str]:
    """A checkout whose pages have such names, measured; what that printed, and a dry run."""
    checkout = make_checkout(tmp_path_factory.mktemp("hostile") / PLACE / "check out")
    with Image.open(SAMPLES / FIRST) as page:
        small = ImageOps.contain(page.convert("RGB"), (90, 90))
    for name in NAMES:
        small.save(checkout.pages / name, format="JPEG" if name.endswith("jpg") else "PNG")
    (checkout.pages / BAD).write_text("no image")
    profiler = {"with_stack": True, "record_shapes": True, "decode_steps": 1}
    own = {"repeats": 1, "max_new_tokens": 2, "profiler": profiler, "on_bad_image": "skip"}
    checkout.configure(**SETTINGS | own)
    environment = PRIVATE | {"HOME": str(checkout.root.parent / PRIVATE["HOME"])}
    environment |= {"PYTHONUSERBASE": site.getuserbase(), "PYTHONPATH": str(checkout.root / "src")}
    Path(environment["HOME"]).mkdir()
    renamed = ["unshare", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "sh"]
    may = subprocess.run([*renamed, "true"], capture_output=True, check=False).returncode == 0
    said = [
        subprocess.run(
            [*(renamed if may else []), sys.executable, "-m", "snakemake", *arguments],
            cwd=checkout.root,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout
        for arguments in (["-n"], [], ["-n"])
    ]
    assert "Nothing to do" in said[2]
    return checkout, said[0], said[1]


@pytest.mark.faults
def test_any_name_is_measured_and_named(hostile: tuple[Checkout, str, str]) -> None:
    checkout, *_ = hostile
    rows = checkout.table("inputs.csv")
    assert {row["path"] for row in rows} == {f"my pages/{name}" for name in NAMES}
    ids = {page_id(name) for name in NAMES}
    assert len(ids) == len(NAMES)
    assert {row["image"] for row in checkout.table("metrics.csv")} == ids
    for report in ("report.md", "report.html"):
        assert [one for one in ids if one not in checkout.text(report)] == []


@pytest.mark.faults
def test_no_name_is_run(hostile: tuple[Checkout, str, str]) -> None:
    checkout, *_ = hostile
    found = {path.name for path in checkout.root.parent.rglob("*marker*")}
    # The pages themselves, and their ids where results and logs are.
    assert found == {name for page in NAMES[:2] for name in (page, page_id(page))}


@pytest.mark.faults
def test_no_name_commands_the_terminal(hostile: tuple[Checkout, str, str]) -> None:
    checkout, *said = hostile
    for text in said:
        assert "left out: cannot read 'my pages/bad\\x1b[31m\\nmfuscope: all is well.png'" in text
        assert "\x1b" not in text
        assert not any(line.startswith("mfuscope: all is well") for line in text.splitlines())
    for log in (checkout.root / "logs").rglob("*.log"):
        assert "\x1b" not in log.read_text(encoding="utf-8")


@pytest.mark.faults
def test_results_hold_no_private_names(hostile: tuple[Checkout, str, str]) -> None:
    checkout, *_ = hostile
    private = {PLACE, HOST, *PRIVATE.values(), str(ROOT), sys.prefix, "/tmp/"}
    files = [path for path in checkout.results.rglob("*") if path.is_file()]
    assert any("traces" in path.parts for path in files)
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
            assert b"mfuscope/measure/stages.py(" in content, "there are stacks"
        text = content.decode()
        assert [word for word in private if word in text] == [], path
