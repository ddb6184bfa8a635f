"""What the report's numbers mean, what they rest on, and what they leave out."""

from mfuscope.report.data import ReportData

#: What the sections say of their definitions, alike in every format.
DEFINITIONS = {
    "time": (
        "Prefill runs from inputs on the device to the first logits, and includes the vision "
        "encoder and the projector. Decode runs from there to the last new token. Reading the "
        "file and tokenizing lie outside of both."
    ),
    "steps": (
        "A decode step runs from the start of one forward of the model to the start of the next: "
        "one new token. Steps that grow along the answer pay for the context. Where the device's "
        "busy time hardly varies, a long tail or two humps are the host's: other load, or a clock "
        "of two speeds."
    ),
    "next": (
        "From measured facts by rules, each with the numbers that triggered it and the most that "
        "it could take off a page's time: a bound, not a promise. The gains do not add up. The "
        "rules are in src/mfuscope/report/recommendations.py."
    ),
    "mfu": (
        "MFU is the FLOPs that the model's architecture asks for, divided by the time they took "
        "and by the device's peak. The stage model takes prefill and decode together."
    ),
    "utilisation": (
        "The ceiling is the best matrix product measured on this device; MBU is the bytes that "
        "decode must move at the least, divided by the time it took and by the peak bandwidth. "
        "FLOP per byte divides a stage's FLOPs by the bytes that it must move at the least."
    ),
    "flops": (
        "Counted where operators are dispatched, once per variant and resolution; beside it the "
        "closed form of the architecture, where one is known, and the directional formulas of "
        "earlier reports. A multiply-add counts 2; attention counts its full context. MFU takes "
        "the count for prefill, and for decode the closed form or else the count. The directional "
        "formulas differ because they leave out experts, gates, windows, convolutions and the LM "
        "head, count some products half, and take a fixed context of 512 for decode."
    ),
    "operators": (
        "From the traced passes, which the profiler slows: read shares rather than times. The "
        "longest of each stage; operators.md has more, and the definitions of the columns."
    ),
    "uncounted": "FLOPs and MFU are too low by the share of these operators.",
}


def roofline(data: ReportData) -> str:
    """How to read the roofline of this data."""
    sentences = [
        "A stage lies under a roof: left of the ridge the memory's bandwidth limits what it can "
        "reach, right of it the arithmetic. Far below both, neither does."
    ]
    measured = all(
        data.hardware.peaks[variant.model.dtype].source == "measured" for variant in data.variants
    )
    sentences.append(
        "The roof is what was measured on this device: its best matrix product, and a copy."
        if measured
        else "Solid is the roof that MFU is held against, dashed the one measured on this device "
        "(best matrix product, copy)."
    )
    if any(variant.stats["mfu_prefill_busy"].mean is not None for variant in data.variants):
        sentences.append(
            "Filled points are over wall time, hollow ones over the time in which the device was "
            "busy: the distance between them is launch overhead and host work."
        )
    return " ".join(sentences)


def assumptions(data: ReportData) -> list[str]:
    """What the numbers rest on, beside what was measured."""
    dtypes = sorted({variant.model.dtype for variant in data.variants})
    found = [
        "Batch size 1, greedy decoding, one page at a time.",
        "MFU takes dense peaks: no structured sparsity.",
        "Bytes for MBU and intensity are the least that must move: every active weight once, the "
        "KV cache once; activations and re-reads are left out. In prefill they are many.",
        "Device busy times come from the traced pass and are held against the timed one: a "
        "profiler slows launches, hardly the kernels.",
    ]
    for dtype in dtypes:
        peak = data.hardware.peaks[dtype]
        found.append(f"Peak for {dtype}: {peak.tflops:g} TFLOP/s, {peak.source} ({peak.detail}).")
    if any(variant.model.weights == "dummy" for variant in data.variants):
        found.append(
            "Dummy weights choose experts at random and write no real text: times and FLOPs are "
            "those of the shapes, the length of the answer is the setting max_new_tokens."
        )
    return found


def not_measured(data: ReportData) -> list[str]:
    """What the report cannot say, and why."""
    found = [
        "HFU (what the hardware executed, padding included): only hardware counters know it.",
        "Quality of the text: this report is about time.",
        "Several pages at once: pages are measured one at a time.",
    ]
    if all(v.stats["decode_tokens_per_s"].mean is None for v in data.variants):
        found.append(
            "Decode steps and their rate: the answers have one token, which prefill makes."
        )
    if all(v.stats["prefill_device_busy_ms"].mean is None for v in data.variants):
        found.append(
            "Device busy time and kernels: on a CPU the host is the device, and its trace has "
            "no kernels."
        )
    if all(run.stats["energy_j"].mean is None for page in data.pages for run in page.measured):
        reasons = "; ".join(data.survey.reasons("energy_j")) or "no value"
        found.append(f"Energy: {reasons}.")
    return found
