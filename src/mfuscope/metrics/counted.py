"""What hardware counters say about a run: HFU, padding, DRAM traffic.

``padding = FLOPs of the tensor pipes / model FLOPs``, ``hfu = mfu x padding``. The counters are of
one page per resolution (docs/measurement.md): every run at the resolution has the same kernels with
the same work, except for the rows that each routed expert gets. Of decode its first step was
counted; its padding and its bytes stand for every step.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from mfuscope.core.counters import Counters, CounterTotals
from mfuscope.core.errors import UserError
from mfuscope.core.records import Calibration, Run
from mfuscope.metrics.operator_work import Traffic
from mfuscope.storage.tables import number_in

#: The counted stages, with the stages of a run that they stand for.
STAGES: Mapping[str, str] = {"prefill": "prefill", "decode_step": "decode"}

COLUMNS = (
    "hfu_prefill",
    "hfu_decode",
    "padding_prefill",
    "padding_decode",
    "dram_gb_prefill",
    "dram_gb_per_token",
)


def counter_columns(
    run: Run,
    calibration: Calibration,
    counters: Counters | None,
    mfu: Mapping[str, float | None],
) -> dict[str, float | None]:
    """The columns of metrics.csv from the counters of the run's resolution; None without them.

    Bytes of prefill count every copy of a batch, bytes per token are shared by the copies.

    Args:
        mfu: of the run's stages, by name.

    Raises:
        UserError: the counters are of another model or precision.
    """
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)
    if counters is None or not counters.stages:
        return found
    _check_same(run, counters)
    copies = run.batch_size
    model = {
        "prefill": copies * calibration.prefill_total["counted"],
        "decode_step": copies * calibration.decode_steps[0].total["counted"],
    }
    for name, stage in STAGES.items():
        totals, of_run = counters.stages.get(name), mfu[stage]
        if totals is None or of_run is None:
            continue
        if totals.tensor_flops is not None:
            padding = totals.tensor_flops / model[name]
            found[f"padding_{stage}"], found[f"hfu_{stage}"] = padding, of_run * padding
        if totals.dram_bytes is not None:
            moved = totals.dram_bytes / 1e9
            if stage == "prefill":
                found["dram_gb_prefill"] = moved
            else:
                found["dram_gb_per_token"] = moved / copies
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Model FLOPs beside what the hardware did, in a stage or component; None where not known.

    Attributes:
        model_flops: counted at dispatch, of all copies.
        hardware: the counters.
        least_bytes: that must be moved: weights, and keys and values of all copies.
    """

    model_flops: float | None
    hardware: CounterTotals
    least_bytes: float | None = None

    @property
    def padding(self) -> float | None:
        """FLOPs of the tensor pipes / model FLOPs."""
        if not self.model_flops or self.hardware.tensor_flops is None:
            return None
        return self.hardware.tensor_flops / self.model_flops

    @property
    def gbs(self) -> float | None:
        """DRAM traffic in GB/s over the times of the counted kernels, which ran one by one."""
        if self.hardware.dram_bytes is None or not self.hardware.device_ms:
            return None
        return self.hardware.dram_bytes / 1e6 / self.hardware.device_ms

    @property
    def traffic_factor(self) -> float | None:
        """Measured / least bytes."""
        if self.hardware.dram_bytes is None or not self.least_bytes:
            return None
        return self.hardware.dram_bytes / self.least_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedOperator:
    """What the hardware did in one operator of a stage (``prefill``, ``decode_step``)."""

    stage: str
    name: str
    calls: int
    device_ms: float
    tensor_flops: float | None
    dram_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The counters of a resolution joined with its calibration.

    Attributes:
        stages: `Work` of ``prefill`` and ``decode_step``.
        components: the same by component, of the stages whose launches were matched.
        operators: of the same stages.
    """

    counters: Counters
    copies: int
    stages: Mapping[str, Work]
    components: Mapping[str, Mapping[str, Work]]
    operators: tuple[CountedOperator, ...]


def reconcile(
    counters: Counters, calibration: Calibration, launches: pd.DataFrame
) -> Reconciliation:
    """Join the counters of a resolution with its calibration.

    Args:
        launches: the table beside the record.
    """
    copies, step = int(counters.settings["batch_size"]), calibration.decode_steps[0]
    flops = {"prefill": calibration.prefill_flops, "decode_step": step.flops}
    total = {"prefill": calibration.prefill_total, "decode_step": step.total}
    weights = {"prefill": calibration.prefill_weight_bytes, "decode_step": step.weight_bytes}
    kv = {"prefill": calibration.prefill_kv_bytes, "decode_step": step.kv_bytes}
    stages = {
        stage: Work(
            model_flops=copies * total[stage]["counted"],
            hardware=counters.stages[stage],
            least_bytes=_least(weights[stage], kv[stage], copies),
        )
        for stage in STAGES
        if stage in counters.stages
    }
    components = {
        stage: {
            name: Work(
                model_flops=_times(copies, flops[stage].get(name, {}).get("counted")),
                hardware=totals,
            )
            for name, totals in of_stage.items()
        }
        for stage, of_stage in counters.components.items()
    }
    return Reconciliation(
        counters=counters,
        copies=copies,
        stages=stages,
        components=components,
        operators=tuple(_operators(launches)),
    )


def traffic(launches: pd.DataFrame) -> Traffic:
    """Bytes that one prefill and one decode step move in DRAM, by stage and operator.

    Args:
        launches: the table beside a record of counters.
    """
    return {
        (STAGES[one.stage], one.name): one.dram_bytes
        for one in _operators(launches)
        if one.dram_bytes is not None
    }


def _operators(launches: pd.DataFrame) -> Iterator[CountedOperator]:
    known = launches[launches["operator"].notna()]
    columns = ["device_ns", "tensor_flops", "dram_read_bytes", "dram_write_bytes"]
    for (stage, name), rows in known.groupby(["stage", "operator"], sort=False):
        ns, flops, read, written = (
            rows[column].sum(skipna=False) for column in columns
        )  # NaN where a counter is absent
        moved = read + written
        yield CountedOperator(
            stage=str(stage),
            name=str(name),
            calls=len(rows),
            device_ms=float(ns) / 1e6,
            tensor_flops=number_in(flops),
            dram_bytes=number_in(moved),
        )


def _least(weights: int | None, kv: int | None, copies: int) -> float | None:
    return None if weights is None or kv is None else weights + copies * kv


def _times(copies: int, value: float | None) -> float | None:
    return None if value is None else copies * value


def _check_same(run: Run, counters: Counters) -> None:
    measured = (run.model.fingerprint, run.model.dtype, run.prompt_tokens)
    model = counters.counted.model
    counted = (model.fingerprint, model.dtype, counters.counted.prompt_tokens)
    if measured != counted:
        path = f"results/{run.variant}/counters/{run.page.resolution}.json"
        raise UserError(
            f"run {run.variant}/{run.image}/{run.repeat} has model, dtype and prompt tokens "
            f"{measured}, its hardware counters {counted}",
            f"`rm {shlex.quote(path)}` and run the same command again",
        )
