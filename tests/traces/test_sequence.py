"""The kernels of a short pass in the order of their launches."""

import pytest
from checkpoints import ROOT

from mfuscope.traces.columns import read_trace
from mfuscope.traces.sequence import OTHER, function_name, is_copy, launch_sequence


@pytest.mark.parametrize(
    ("cupti", "nsight"),
    [
        (
            "void at::native::f<4, at::native::G<int> >(int)",
            "void native::f<4, native::G<int>>(T1)",
        ),
        ("at::native::(anonymous namespace)::f(float*)", "<unnamed>::f(float *)"),
        ("void (anonymous namespace)::f<8>(int)", "void f<8>(int)"),
        ("f", "f"),
        ("_ZN7cutlass13device_kernelIN2at4cudaEEEvNT_6ParamsE", "void device_kernel<X>(T1)"),
        ("_Z1fi", "f"),
    ],
)
def test_both_profilers_name_the_same_function(cupti: str, nsight: str) -> None:
    assert function_name(cupti) == function_name(nsight) != ""


def test_scopes_are_no_part_of_a_name() -> None:
    assert function_name("void a::b::c<d::e>(g::h)") == "c"
    assert function_name("_ZN1a1b1cIiEEvT_") == "c"


def test_a_pass_on_a_gpu() -> None:
    found = launch_sequence(read_trace(ROOT / "tests/data/h100-counted-pass.json.gz"))
    stages = [one.stage for one in found]
    assert stages == ["prefill"] * 510 + ["decode_step"] * 265
    assert all(one.operator.startswith("aten::") for one in found)
    assert {one.component for one in found} >= {"clip", "routed_experts", "lm_head", OTHER}
    assert not any(is_copy(one.kernel) for one in found)


def test_replayed_kernels_have_the_operator_of_their_capture_and_no_component() -> None:
    """Decode replays CUDA graphs, which hold the kernels of all components."""
    found = launch_sequence(read_trace(ROOT / "tests/data/h100-compiled.json.gz"))
    replayed = [one for one in found if one.stage == "decode_step" and one.component == "compiled"]
    assert len(replayed) > 100
    assert any(one.operator.startswith("triton_") for one in replayed)
    assert {one.component for one in found} == {"compiled", OTHER}
