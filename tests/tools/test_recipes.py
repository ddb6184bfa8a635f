"""Every way to make an environment installs the same: .venv, conda, images, pre-commit."""

import re
import shlex

import yaml
from checkouts import ROOT
from wheels import pins


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pinned() -> dict[str, str]:
    """Version by project, as `make install` takes them."""
    found = re.search(r"^PINNED_TORCH := (\S+)$", text("Makefile"), re.MULTILINE)
    assert found is not None
    return pins(text("requirements.txt").splitlines()) | {"torch": found[1]}


def arguments() -> dict[str, str]:
    """The Dockerfile's arguments with their defaults."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", text("Dockerfile"), re.MULTILINE))


def dockerfile() -> str:
    """The Dockerfile with its defaults in place, an instruction a line."""
    joined = text("Dockerfile").replace("\\\n", " ")
    return re.sub(r"\$\{(\w+)\}", lambda name: arguments()[name[1]], joined)


def section(name: str) -> str:
    """A section of the recipe for Apptainer."""
    _, _, rest = text("apptainer.def").partition(f"%{name}\n")
    return rest.partition("\n%")[0]


def installs(script: str) -> list[list[str]]:
    """The packages that a script installs with apt-get and pip, call by call."""
    calls = re.findall(r"(?:apt-get|pip) install (.*?)(?:&&|\n|$)", script)
    found = [[word.removeprefix("/work/") for word in shlex.split(call)] for call in calls]
    return [["." if word == "/work" else word for word in words] for words in found]


def test_the_conda_environment_has_the_pins_of_the_virtual_one() -> None:
    environment = yaml.safe_load(text("workflow/envs/mfuscope.yaml"))
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    conda = pins(pip)
    assert len(conda) == len(pip), "every one is pinned"
    assert conda == {name: pinned().get(name) for name in conda}


def test_pre_commit_has_the_versions_of_make_lint() -> None:
    development = pins(text("requirements-dev.txt").splitlines())
    hooks = {
        hook["id"]: repository["rev"].removeprefix("v")
        for repository in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
        for hook in repository["hooks"]
    }
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in hooks.values())
    assert hooks["ruff-check"] == hooks["ruff-format"] == development["ruff"]
    assert hooks["snakefmt"] == development["snakefmt"]
    assert {"codespell", "reuse"} <= set(hooks)


def test_vulnerabilities_are_looked_up_of_every_requirement_that_is_installed() -> None:
    (recipe,) = re.findall(r"^audit:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)
    audited = set(re.findall(r"requirements[\w-]*\.txt", recipe))
    # The environment of pip-audit itself runs no code of the project.
    there = {path.name for path in ROOT.glob("requirements*.txt")} - {"requirements-audit.txt"}
    assert audited == there
    assert "torch==$(TORCH)" in recipe


def test_the_image_has_the_torch_of_the_virtual_environment() -> None:
    assert arguments()["TORCH"] == pinned()["torch"]


def test_both_recipes_start_from_the_same_image() -> None:
    assert f"\nFrom: {arguments()['BASE']}\n" in text("apptainer.def")


def test_the_image_has_the_cuda_that_torch_was_built_for() -> None:
    major, minor = re.findall(r"cuda:(\d+)\.(\d+)", arguments()["BASE"])[0]
    assert arguments()["TORCH_INDEX"].endswith(f"/cu{major}{minor}")


def test_both_recipes_install_the_same() -> None:
    found = installs(dockerfile())
    assert [words[-1] for words in found] == [
        "tini",
        f"torch=={pinned()['torch']}",
        "requirements.txt",
        ".",
    ]
    assert installs(section("post")) == found


def test_both_recipes_copy_the_same_and_all_that_a_run_reads() -> None:
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    pairs = [line.split() for line in section("files").splitlines() if line]
    assert {source for source, _ in pairs} == allowed
    assert all(target == f"/work/{source}" for source, target in pairs)
    assert all((ROOT / name).exists() for name in allowed)
    project = text("pyproject.toml")
    for name in ("Snakefile", "config", "data", "profiles", "src", "workflow"):
        assert name in allowed
    for named in re.findall(r'"(README\.md|LICENSE)"', project):
        assert named in allowed


def test_both_recipes_start_the_same_command() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text("Dockerfile"), re.MULTILINE)
    assert f'exec {" ".join(yaml.safe_load(entry))} "$@"' in section("runscript")
