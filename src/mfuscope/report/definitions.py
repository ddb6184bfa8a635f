"""Definitions, assumptions and limits of the report's numbers."""

from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing

#: Definitions by section, the same in every format.
DEFINITIONS = {
    "time": (
        "Prefill runs from inputs on the device to the first logits, and includes the vision "
        "encoder and the projector. Decode runs from there to the last new token. Reading the "
        "file and tokenizing lie outside of both."
    ),
    "steps": (
        "A decode step runs from the start of one forward of the model to the start of the next: "
        "one new token. Steps grow along the answer because the context grows. If the device's "
        "busy time hardly varies, the host causes a long tail or two peaks: other load, or a clock "
        "that switches between two speeds."
    ),
    "next": (
        "Rules turn measured facts into recommendations. Each names the numbers that triggered "
        "it. Where a variant followed it, its gain was measured; else it names the most that it "
        "could take off a page's time (a bound, not a promise) and the variant that would measure "
        "it. The gains do not add up. The rules are in src/mfuscope/report/recommendations."
    ),
    "tried": (
        "The first row has the reference's own values. Every other number is a variant's value "
        "divided by the reference's, with the 95 % interval below it: a time below ×1 is faster, a "
        "speed above ×1 is faster. Where the interval holds 1, no difference was shown. Variants "
        "of other work (another model, prompt, resolution, or length of the answer) are not "
        "compared for the best, and the best of k needs an interval of 1 - 0.05 / k. Busy "
        "shares and kernels are from the traced passes, everything else from the timed ones."
    ),
    "mfu": (
        "MFU is the FLOPs that the model's architecture requires, divided by the time they took "
        "and by the device's peak. The stage model is prefill and decode together."
    ),
    "utilisation": (
        "The ceiling is the best matrix product measured on this device; MBU is the minimum "
        "of bytes that decode must move, divided by the time it took and by the peak bandwidth. "
        "FLOP per byte divides a stage's FLOPs by the minimum of bytes that it must move."
    ),
    "flops": (
        "FLOPs are counted where operators are dispatched, once per variant and resolution. Beside "
        "the count stand the closed form of the architecture, if one is known, and the directional "
        "formulas of earlier reports. A multiply-add counts 2; attention counts its full context. "
        "MFU uses the count for prefill, and for decode the closed form if there is one, else the "
        "count. The directional formulas differ because they leave out experts, gates, windows, "
        "convolutions and the LM head, count some products half, and take a fixed context of 512 "
        "for decode."
    ),
    "hardware": (
        "MFU counts what the model asks for, HFU what the hardware executed: FLOPs of the tensor "
        "pipes, padding of tiles included, over the same time and peak. The padding factor is the "
        "second divided by the first. Least bytes are the weights that are needed and the KV "
        "cache, each once; measured are the bytes that DRAM read and wrote. Of decode the first "
        "step was counted; its padding stands for every step. Pages of a resolution run the same "
        "kernels on the same shapes, except for the routed experts: the rows that each gets, and "
        "with them the tiles that are filled up, differ between pages."
    ),
    "operators": (
        "The longest operators of each stage, from the traced passes. The profiler slows these: "
        "read shares rather than times. TFLOP/s are the FLOPs counted for an operator ÷ its time "
        "here, and the ceiling is the best matrix product measured on this device. A dash stands "
        "for operators without such arithmetic (copies, element-wise work) and for those of which "
        "it is unknown. operators.md has more operators and defines the columns."
    ),
    "uncounted": "FLOPs and MFU are too low by the share of these operators.",
}


def roofline(data: ReportData) -> str:
    """How to read the roofline of this data."""
    sentences = [
        "Each stage lies under a roof: left of the ridge the memory's bandwidth limits it, right "
        "of the ridge arithmetic does. Far below the roof, neither limits it."
    ]
    measured = all(
        data.hardware.peaks[variant.model.dtype].source == "measured" for variant in data.variants
    )
    sentences.append(
        "The roof was measured on this device: its best matrix product, and a copy."
        if measured
        else "The solid roof is the peak that MFU refers to; the dashed one was measured on this "
        "device (best matrix product, copy)."
    )
    if any(variant.stats["mfu_prefill_busy"].mean is not None for variant in data.variants):
        sentences.append(
            "Filled points use wall time, hollow points the time in which the device was busy: the "
            "distance between them is the time in which it waits for the host."
        )
    return " ".join(sentences)


def assumptions(data: ReportData) -> list[str]:
    """The assumptions behind the numbers."""
    dtypes = sorted({variant.model.dtype for variant in data.variants})
    batches = sorted({variant.batch_size for variant in data.variants})
    found = [
        "Greedy decoding, one page at a time, batch size "
        f"{listing([str(size) for size in batches])}.",
        "MFU uses dense peaks: no structured sparsity.",
        "Bytes for MBU and intensity are the minimum that must move: every active weight once, the "
        "KV cache once. Activations and re-reads are left out; in prefill they are large.",
        "Device busy times come from the traced pass, and are divided by the times of the timed "
        "pass: a profiler slows launches, but hardly kernels.",
        "What the device waits for has the parts of the traced pass, whose host is slower, and the "
        "length of the timed one.",
    ]
    for dtype in dtypes:
        peak = data.hardware.peaks[dtype]
        found.append(f"Peak for {dtype}: {peak.tflops:g} TFLOP/s, {peak.source} ({peak.detail}).")
    if any(variant.model.weights == "dummy" for variant in data.variants):
        found.append(
            "Dummy weights choose experts at random and write no real text: times and FLOPs follow "
            "from the shapes, and the setting max_new_tokens gives the length of the answer."
        )
    return found


def not_measured(data: ReportData) -> list[str]:
    """What the report cannot say, and why."""
    found = [
        "Quality of the text: this report is about time.",
        "Several different pages at once: pages are measured one at a time, and a batch holds "
        "copies of one page.",
    ]
    if not data.counted:
        found.insert(
            0, "HFU (FLOPs that the hardware executed, padding included): no counters were read."
        )
    if all(v.stats["decode_tokens_per_s"].mean is None for v in data.variants):
        found.append(
            "Decode steps and their rate: the answers have one token, which prefill makes."
        )
    if all(v.stats["prefill_device_busy_ms"].mean is None for v in data.variants):
        found.append(
            "Device busy time and kernels: on a CPU the host is the device, and its trace has "
            "no kernels."
            if data.hardware.device.kind == "cpu"
            else "Device busy time and kernels of prefill: no trace of it is whole (see Checks)."
        )
    if all(run.stats["energy_j"].mean is None for page in data.pages for run in page.measured):
        reasons = "; ".join(data.survey.reasons("energy_j")) or "no value"
        found.append(f"Energy: {reasons}.")
    return found
