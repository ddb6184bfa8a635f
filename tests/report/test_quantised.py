"""The report on a checkpoint whose weights are packed."""

from builders import a_pass, activity, model, run
from report_data import tables

from mfuscope.core.records import Quantisation, StageActivity
from mfuscope.report.data import ReportData
from mfuscope.report.limits import main_stage, stage_facts
from mfuscope.report.recommendations import recommend
from mfuscope.report.wording import facts

PACKED = Quantisation(method="torchao", scheme="Int8WeightOnlyConfig", bits=8)


def data(quantisation: Quantisation | None) -> ReportData:
    """Decode near the bandwidth, and busy for most of its time."""
    made = model(weights="checkpoint", quantisation=quantisation)
    timed = a_pass(prefill_ms=1.0, decode_ms=2.5, vision_ms=0.4)
    runs = [run(repeat=repeat, timed=timed, model=made) for repeat in range(3)]
    stages = {
        "prefill": StageActivity(wall_ms=900.0, steps=0, kernels=2000, device_busy_ms=1.0),
        "decode": StageActivity(wall_ms=900.0, steps=3, kernels=2100, device_busy_ms=2.0),
    }
    return tables(runs, activities=[activity(stages=stages)] * 3).data


def test_the_facts_name_method_bits_and_precision() -> None:
    assert dict(facts(data(PACKED)))["Weights"] == (
        "checkpoint, linear layers in 8 bits (torchao Int8WeightOnlyConfig), multiplied in bf16"
    )
    assert dict(facts(data(None)))["Weights"] == "checkpoint"


def test_packed_weights_are_not_to_be_packed_again() -> None:
    plain, packed = data(None), data(PACKED)
    for made in (plain, packed):
        variant = made.variants[0]
        found = stage_facts(variant, main_stage(variant), made.hardware, made.ceiling)
        assert found.kind == "memory"
    rules = [{one.rule for one in recommend(made, made.variants[0])} for made in (plain, packed)]
    assert rules[0] - rules[1] == {"quantise_weights"}
