"""Names of wheels: the Python, machine and glibc that they are for."""

from pathlib import Path

import pytest
from wheelhouse import listing
from wheels import Target, read_wheel, target_of

from mfuscope.core.errors import UserError


def test_a_glibc_runs_what_was_built_for_older_ones() -> None:
    tags = Target((3, 12), "x86_64", 28).platforms
    assert tags[:2] == ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"]
    for older in ("manylinux2014", "manylinux2010", "manylinux1", "linux"):
        assert f"{older}_x86_64" in tags
    assert "manylinux2014_x86_64" not in Target((3, 12), "x86_64", 16).platforms
    assert str(target_of("3.12", "manylinux_2_17_aarch64")) == (
        "Python 3.12 on aarch64 with glibc 2.17 or newer"
    )


@pytest.mark.parametrize(
    ("tag", "machine", "glibc"),
    [
        ("manylinux2014_x86_64", "x86_64", 17),
        ("manylinux2010_x86_64", "x86_64", 12),
        ("manylinux_2_34_aarch64", "aarch64", 34),
    ],
)
def test_a_platform_may_have_its_older_name(tag: str, machine: str, glibc: int) -> None:
    assert target_of("3.12", tag) == Target((3, 12), machine, glibc)


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("manylinux_2_28_amd64", "manylinux_2_28_x86_64"),
        ("manylinux_2_34_arm64", "manylinux_2_34_aarch64"),
        ("manylinux2014_x64", "manylinux2014_x86_64"),
    ],
)
def test_the_remedy_corrects_other_names_of_a_machine(tag: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        target_of("3.12", tag)
    assert caught.value.remedy.startswith(f"give it as PLATFORM={meant} (see `uname -m`")


@pytest.mark.parametrize(
    ("name", "made_for", "machines", "glibc"),
    [
        ("yte-1.9.4-py3-none-any", None, set(), 5),
        ("psutil-7.2.2-cp36-abi3-manylinux2010_x86_64.manylinux_2_12_x86_64", None, {"x86_64"}, 12),
        ("numpy-2.4.6-1-cp312-cp312-manylinux_2_27_aarch64", "3.12", {"aarch64"}, 27),
        ("triton-3.7.1-cp312-cp312-linux_x86_64", "3.12", {"x86_64"}, 5),
    ],
)
def test_a_wheels_name_says_where_it_runs(
    name: str, made_for: str | None, machines: set[str], glibc: int
) -> None:
    wheel = read_wheel(Path(f"{name}.whl"))
    assert (wheel.made_for, wheel.machines, wheel.glibc) == (made_for, machines, glibc)


def test_sizes_are_listed_with_their_sum(tmp_path: Path) -> None:
    for name, size in (("small", 20_000), ("large", 3_000_000)):
        (tmp_path / f"{name}-1-py3-none-any.whl").write_bytes(bytes(size))
    lines = listing([read_wheel(path) for path in tmp_path.iterdir()]).splitlines()
    assert [line.split()[0] for line in lines] == ["3.00", "0.02", "3.02"]
    assert lines[-1].endswith("in 2 wheels")
