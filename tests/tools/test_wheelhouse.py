"""Nodes without a registry: `make wheelhouse`, `make install-offline`, and a run without a network.

`make test-wheelhouse` runs the slow tests, which download 400 MB, or GBs with CUDA.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from checkouts import FIRST, ROOT, SECOND, SETTINGS, Checkout
from collected import NAME, read_collected, write_collected
from wheels import host_glibc, pins, read_wheel, target_of

PYTHON = "{}.{}".format(*sys.version_info)
OTHER_PYTHON = "3.11" if PYTHON == "3.12" else "3.12"
TAG = PYTHON.replace(".", "")
MACHINE = platform.machine()
TORCH = f"torch-2.13.0+cpu-cp{TAG}-cp{TAG}-manylinux_2_28_{MACHINE}"
SETUPTOOLS = "setuptools-84.0.0-py3-none-any"
#: Prefixes of variables that a caller, such as another make, may have set.
OWN = ("MAKE", "MFLAGS", "TORCH", "OFFLINE", "PIP_", "PYTHON", "PY", "PLATFORM", "DSOCR_", "MFU_")


def make(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] = {},
    prefix: Sequence[str] = (),
) -> tuple[int, str]:
    """Call make; returns its exit status and what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    done = subprocess.run(
        [*prefix, "make", f"PYTHON={sys.executable}", *arguments],
        cwd=root,
        env=clean | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def collected(root: Path, *arguments: str) -> str:
    """Collect a wheelhouse as this host's pip is set up to; returns what make printed."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    status, printed = make(root, "wheelhouse", *arguments, environment=pip)
    assert status == 0, printed
    return printed


def error_of(root: Path, *arguments: str, **environment: str) -> str:
    """The last line of a call that must fail, without make's own lines."""
    status, printed = make(root, *arguments, environment=environment)
    assert status, printed
    return [line for line in printed.splitlines() if not line.startswith(("make:", "make["))][-1]


@pytest.fixture
def installing(tmp_path: Path) -> Path:
    """The files of a checkout that `make install-offline` reads before it installs anything."""
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*.txt")):
        shutil.copy(path, tmp_path)
    for name in ("tools", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def hold(root: Path, *names: str) -> Path:
    """Make a wheelhouse of empty files: every pinned wheel, and some more by name."""
    folder = root / "wheelhouse"
    folder.mkdir()
    for name, version in pins((root / "requirements.txt").read_text().splitlines()).items():
        (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    for name in (*names, SETUPTOOLS):
        (folder / f"{name}.whl").touch()
    note(folder)
    return folder


def note(folder: Path) -> None:
    """Write the record of a wheelhouse."""
    wheels = [read_wheel(path) for path in folder.glob("*.whl")]
    write_collected(folder, target_of("", ""), [Path("requirements.txt")], wheels)


# A Python of RHEL 9: code that asks for its version is answered with it, and tomllib came later.
OLD_PYTHON = """#!{python}
import sys
sys.version_info, sys.version = (3, 9, 18, "final", 0), "3.9.18 (main)"
sys.modules["tomllib"] = None
sys.argv.pop(0)
if sys.argv[0] == "-c":
    exec(sys.argv[1])
else:
    import runpy
    sys.path.insert(0, sys.argv[0].rpartition("/")[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("target", ["wheelhouse", "install-offline", "install"])
def test_a_python_that_is_too_old_is_reported_before_it_runs_anything(
    target: str, installing: Path
) -> None:
    old = installing / "python3"
    old.write_text(OLD_PYTHON.format(python=sys.executable))
    old.chmod(0o755)
    assert error_of(installing, target, f"PYTHON={old}") == (
        "mfuscope needs Python 3.11 or newer, this is 3.9.18. Remedy: make PYTHON=python3.12 ..."
    )
    assert not (installing / ".venv").exists()


def test_without_a_wheelhouse_it_says_how_to_come_by_one(installing: Path) -> None:
    printed = error_of(installing, "install-offline")
    assert printed.startswith(
        "mfuscope: there is no wheel in wheelhouse/. Remedy: run `make wheelhouse "
    )
    assert f"PY={PYTHON} PLATFORM=manylinux_2_{host_glibc()}_{MACHINE}`" in printed
    assert not (installing / ".venv").exists()


@pytest.mark.parametrize(
    ("wheel", "problem"),
    [
        (f"numpy-2.4.6-cp39-cp39-manylinux_2_28_{MACHINE}", f"Python 3.9, this is {PYTHON}"),
        (f"numpy-2.4.6-cp{TAG}-cp{TAG}-manylinux2014_s390x", f"s390x, this is {MACHINE}"),
        (f"hf_xet-1.8.0-cp38-abi3-manylinux_2_99_{MACHINE}", "needs glibc 2.99, this host has 2."),
    ],
)
def test_a_wheelhouse_of_other_hosts_is_named(installing: Path, wheel: str, problem: str) -> None:
    hold(installing, wheel)
    printed = error_of(installing, "install-offline")
    assert printed.startswith("mfuscope: wheelhouse/ ")
    assert problem in printed
    assert f". Remedy: {'make' if 'Python' in problem else 'run `make'} " in printed
    assert not (installing / ".venv").exists()


def test_a_wheelhouse_of_another_checkout_is_named(installing: Path) -> None:
    folder = hold(installing, TORCH)
    (folder / "pandas-3.1.1-py3-none-any.whl").unlink()
    (folder / "snakemake-9.27.1-py3-none-any.whl").unlink()
    note(folder)
    printed = error_of(installing, "install-offline")
    assert printed.startswith("mfuscope: wheelhouse/ lacks pandas==3.1.1 and 1 more. Remedy: ")
    assert printed.endswith("` from this checkout.")


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        ([TORCH], "lacks torch==2.13.0+cpu"),
        ([SETUPTOOLS], "lacks setuptools==84.0.0"),
        (["pandas-3.1.1-py3-none-any", "yte-1.9.4-py3-none-any"], "lacks pandas==3.1.1 and 1 more"),
    ],
)
def test_what_a_wheelhouse_lost_is_named_before_anything_is_touched(
    lost: list[str], problem: str, installing: Path
) -> None:
    folder = hold(installing, TORCH)
    for name in lost:
        (folder / f"{name}.whl").unlink()
    kept = a_working_venv(installing)
    printed = error_of(installing, "install-offline")
    assert printed.startswith(
        f"mfuscope: wheelhouse/ {problem}. Remedy: bring the whole folder here again, or run `make "
    )
    assert kept.exists()


def test_a_wheel_that_was_cut_off_in_a_copy_is_named(installing: Path) -> None:
    folder = hold(installing)
    (folder / f"{TORCH}.whl").write_bytes(bytes(1000))
    note(folder)
    (folder / f"{TORCH}.whl").write_bytes(bytes(300))
    kept = a_working_venv(installing)
    printed = error_of(installing, "install-offline")
    assert printed.startswith(
        f"mfuscope: wheelhouse/ is damaged: {TORCH}.whl (300 of 1000 bytes). "
    )
    assert kept.exists()


@pytest.mark.parametrize("content", [None, "", "[]", '{"python": "3.12"}'])
def test_a_wheelhouse_that_does_not_say_what_it_holds_is_named(
    content: str | None, installing: Path
) -> None:
    record = hold(installing, TORCH) / NAME
    record.unlink()
    if content is not None:
        record.write_text(content)
    printed = error_of(installing, "install-offline")
    assert printed.startswith(
        f"mfuscope: wheelhouse/ does not say what it was collected with (cannot read {NAME}: "
    )
    assert "). Remedy: bring the whole folder here again, or run `make wheelhouse " in printed


def a_working_venv(root: Path) -> Path:
    """A file in a .venv of another Python; `venv --clear` would remove it."""
    kept = root / ".venv" / "kept"
    kept.parent.mkdir()
    kept.touch()
    return kept


def test_another_python_clears_nothing_that_it_cannot_rebuild(installing: Path) -> None:
    """A later call in a checkout that was installed offline."""
    hold(installing, f"numpy-2.4.6-cp39-cp39-manylinux_2_28_{MACHINE}")
    kept = a_working_venv(installing)
    (kept.parent / ".offline").touch()
    (kept.parent / ".torch").write_text("2.13.0+cpu")
    assert "is for Python 3.9, this is" in error_of(installing, "install")
    assert kept.exists()


def test_another_torch_than_the_wheelhouse_has_is_named(installing: Path) -> None:
    hold(installing, TORCH)
    printed = error_of(installing, "install-offline", "TORCH=2.11.0")
    assert printed.startswith("mfuscope: wheelhouse/ lacks torch==2.11.0. Remedy: ")


def test_without_torch_in_either_place_it_says_which_python_to_take(installing: Path) -> None:
    hold(installing)
    environment = {"PYTHONUSERBASE": str(installing / "nothing")}
    if _has_torch(**environment):
        pytest.skip("this host's own Python has torch")
    kept = a_working_venv(installing)
    printed = error_of(installing, "install-offline", **environment)
    assert printed == (
        f"TORCH= takes the torch of {sys.executable}, which has none outside of virtual "
        "environments. Remedy: make TORCH= PYTHON=/the/python/that/has/torch ..."
    )
    assert kept.exists()


def test_a_hosts_own_torch_may_be_asked_for_where_the_wheelhouse_lost_its_own(
    installing: Path,
) -> None:
    (hold(installing, TORCH) / f"{TORCH}.whl").unlink()
    environment = {"PYTHONUSERBASE": str(installing / "nothing")}
    if _has_torch(**environment):
        pytest.skip("this host's own Python has torch")
    printed = error_of(installing, "install-offline", "TORCH=", **environment)
    assert printed.startswith("TORCH= takes the torch of ")


def test_that_the_host_has_torch_is_remembered(installing: Path) -> None:
    """Or every later call would install again."""
    packages = installing / "user" / "lib" / f"python{PYTHON}" / "site-packages"
    (packages / "torch").mkdir(parents=True)
    (packages / "torch" / "__init__.py").touch()
    made = installing / ".venv"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    (made / ".python").write_text(f"{PYTHON} with the packages of the host\n")
    environment = {"PYTHONUSERBASE": str(installing / "user")}
    status, printed = make(installing, ".venv/.torch", "TORCH=", environment=environment)
    assert (status, printed) == (0, "")
    assert (made / ".torch").read_text() == "\n"


def _has_torch(**environment: str) -> bool:
    host = Path(sys.base_prefix) / "bin" / "python3"
    looked = subprocess.run(
        [host, "-c", "import torch"], env=environment, capture_output=True, check=False
    )
    return looked.returncode == 0


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("PY=2.7", "PY=2.7 is no version of Python"),
        ("PLATFORM=linux_x86_64", "PLATFORM=linux_x86_64 does not name a glibc and a machine"),
        (
            "PLATFORM=manylinux_2_28_amd64",
            "PLATFORM=manylinux_2_28_amd64 names no machine that wheels are made for",
        ),
        (
            "PLATFORM=manylinux2014_x86_64",
            "torch needs glibc 2.28, and wheels for glibc 2.17 are asked for",
        ),
        ("EXTRA=requirements-gone.txt", "there is no requirements-gone.txt"),
        ("WHEELHOUSE=src", "src holds other things than wheels"),
    ],
)
def test_what_cannot_be_collected_is_named(installing: Path, argument: str, problem: str) -> None:
    printed = error_of(installing, "wheelhouse", argument)
    assert printed.startswith(f"mfuscope: {problem}. Remedy: ")
    assert (installing / "src" / "mfuscope").is_dir()


@pytest.mark.faults
def test_a_failed_collection_leaves_the_wheelhouse_as_it_was(installing: Path) -> None:
    hold(installing, TORCH)
    before = sorted((installing / "wheelhouse").iterdir())
    nothing = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    printed = error_of(installing, "wheelhouse", "PY=3.12", **nothing)
    assert printed.startswith("mfuscope: not every wheel for Python 3.12 on ")
    assert sorted((installing / "wheelhouse").iterdir()) == before
    assert not (installing / "wheelhouse.part").exists()


# The following tests install and measure.


def no_network() -> tuple[str, ...]:
    """A prefix that runs a command without a network, even without a loopback."""
    for way in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0:
            return way
    missing = "no network namespace can be made here. Remedy: run this as root"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with a wheelhouse for this Python."""
    root = tmp_path_factory.mktemp("collector")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, tracked.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    printed = collected(root)
    assert f"collecting wheels for Python {PYTHON} on {MACHINE} with glibc 2." in printed
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def node(collector: Path) -> Iterator[Checkout]:
    """Another checkout with the wheelhouse and without a network, after it measured a page."""
    root = collector.with_name(f"{collector.name}-node")
    shutil.copytree(collector, root, ignore=shutil.ignore_patterns("wheelhouse"))
    (collector / "wheelhouse").rename(root / "wheelhouse")
    checkout = Checkout(root)
    checkout.pages.mkdir()
    checkout.add_page(FIRST)
    checkout.configure(**SETTINGS, repeats=1)
    printed = offline(checkout, "install-offline")
    assert "installing torch 2." in printed
    offline(checkout, "run")
    yield checkout
    shutil.rmtree(root)


def offline(checkout: Checkout, *arguments: str, **environment: str) -> str:
    """Call make where there is no network, no cache and no configuration of pip."""
    pip = {"PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": os.devnull}
    pip["PIP_NO_COMPILE"] = "0"  # as pip reads it: compile nothing; it takes half of the time
    status, printed = make(
        checkout.root, *arguments, environment=pip | environment, prefix=no_network()
    )
    assert status == 0, printed
    assert "Retrying" not in printed  # nothing even tried
    return printed


@pytest.mark.slow
def test_a_node_without_a_network_installs_and_measures(node: Checkout) -> None:
    interfaces = subprocess.run(
        [*no_network(), "cat", "/proc/net/dev"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]
    assert list(node.digests()) == [f"baseline/runs/{FIRST}/0.json"]
    assert FIRST in node.text("report.html")
    assert "installing" not in offline(node, "run")


@pytest.mark.slow
def test_a_later_requirement_is_not_fetched_from_a_registry(node: Checkout) -> None:
    requirements = node.root / "requirements.txt"
    pinned = requirements.read_text()
    requirements.write_text(pinned.replace("yte==1.9.4", "yte==1.9.3"))
    try:
        assert "wheelhouse/ lacks yte==1.9.3. Remedy: " in error_of(node.root, "run")
    finally:
        requirements.write_text(pinned)


@pytest.mark.slow
def test_the_package_as_a_wheel_holds_all_its_data(node: Checkout, tmp_path: Path) -> None:
    pip = [str(node.root / ".venv/bin/python"), "-m", "pip", "wheel", "--quiet", "--no-deps"]
    offline_only = ["--no-index", "--find-links", str(node.root / "wheelhouse")]
    subprocess.run([*pip, *offline_only, "--wheel-dir", tmp_path, node.root], check=True)
    source = node.root / "src"
    files = {
        path.relative_to(source).as_posix()
        for package in ("mfuscope", "snakemake_logger_plugin_mfuscope")
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "mfuscope/hardware/peaks.csv" in files
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert files <= set(archive.namelist())


@pytest.mark.slow
def test_wheels_for_another_python_are_left_to_it(collector: Path) -> None:
    platform_tag = f"manylinux_2_28_{MACHINE}"
    printed = collected(
        collector, f"PY={OTHER_PYTHON}", f"PLATFORM={platform_tag}", "TORCH=", "WHEELHOUSE=other"
    )
    wheels = [read_wheel(path) for path in (collector / "other").glob("*.whl")]
    note_of = read_collected(collector / "other")
    assert (note_of.python, note_of.platform, note_of.torch) == (OTHER_PYTHON, platform_tag, "")
    assert note_of.requirements == ["requirements.txt", "requirements-slurm.txt"]
    assert note_of.wheels.keys() == {wheel.path.name for wheel in wheels}
    assert f" MB  in {len(wheels)} wheels" in printed
    assert {wheel.made_for for wheel in wheels} == {OTHER_PYTHON, None}
    assert max(wheel.glibc for wheel in wheels) <= 28
    assert {"setuptools", "snakemake", "snakemake-executor-plugin-slurm"} <= {
        wheel.project for wheel in wheels
    }
    assert "torch" not in {wheel.project for wheel in wheels}
    refused = error_of(collector, "install-offline", "WHEELHOUSE=other")
    assert f"other/ is for Python {OTHER_PYTHON}, this is {PYTHON}" in refused


# This test comes last because it replaces the node's .venv.
@pytest.mark.slow
def test_a_hosts_own_torch_is_used_where_it_is_asked_for(node: Checkout, tmp_path: Path) -> None:
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(node.root / ".venv")}))
    host = tmp_path / "lib" / f"python{PYTHON}" / "site-packages"
    for folder in packages.glob("torch*"):  # hard links: no copy of a GB
        shutil.copytree(folder, host / folder.name, copy_function=os.link)
    (wheel,) = (node.root / "wheelhouse").glob("torch-*.whl")
    wheel.unlink()
    user = {"PYTHONUSERBASE": str(tmp_path)}  # where a venv with the host's packages looks too
    assert "lacks torch==2." in error_of(node.root, "install-offline", **user)
    printed = offline(node, "install-offline", "TORCH=", **user)
    assert "installing the pinned requirements" in printed
    assert not list(packages.glob("torch*"))
    node.add_page(SECOND)
    assert "installing" not in offline(node, "run", **user)
    assert f"baseline/runs/{SECOND}/0.json" in node.digests()
