"""Definitions, assumptions and limits of the report's numbers."""

from mfuscope.report import endings
from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing

#: Definitions by section, the same in every format.
DEFINITIONS = {
    "time": (
        "Prefill runs from inputs on the device to the first logits, vision encoder and projector "
        "included. Decode runs from the first logits to the last new token. Reading the file and "
        "tokenizing count in neither."
    ),
    "steps": (
        "A decode step makes one new token: it runs from the logits of one forward to those of the "
        "next. The context grows along the answer, and with it the work of a step. If the "
        "device's busy time is steady, a long tail or two peaks come from the host: other load, or "
        "a CPU clock that switches."
    ),
    "next": (
        "Each recommendation follows from a rule and quotes the measured facts behind it. Its gain "
        "is measured where a variant tried it, and otherwise an upper bound. Gains do not add up."
    ),
    "tried": (
        "The first row has the reference's own values. The other rows have ratios, variant ÷ "
        "reference, with the 95 % interval: a time below ×1 or a speed above ×1 is faster. An "
        "interval that contains 1 shows no difference. The best of k variants must do the "
        "reference's work (model, prompt, resolution, answer length), and its interval must "
        "exclude 1 at a level of 1 − 0.05 ÷ k. Busy shares and kernel counts come from the traced "
        "passes, everything else from the timed ones."
    ),
    "mfu": "MFU is the FLOPs that the architecture requires ÷ the time ÷ the device's peak.",
    "utilisation": (
        "The ceiling is the best matrix product measured on this device. MBU is the least bytes "
        "that decode must read ÷ its time ÷ the peak bandwidth. FLOP per byte is the FLOPs of a "
        "stage ÷ the least bytes that it must move."
    ),
    "flops": (
        "Every operator is counted at its dispatch, once per variant and resolution: a "
        "multiply-add counts 2, and attention counts its full context. Architecture is a closed "
        "form, where one is known. Directional are the rough formulas of earlier reports: they "
        "leave out experts, gates, windows, convolutions and the LM head, count some products "
        "half, and assume a context of 512 tokens in decode. MFU uses the count in prefill; in "
        "decode it uses the closed form, or the count where there is none."
    ),
    "hardware": (
        "MFU counts the FLOPs that the model asks for. HFU counts those that the tensor cores "
        "executed, padding of tiles included. The padding factor is hardware FLOPs ÷ model FLOPs. "
        "Least bytes are the needed weights and the KV cache, each once; measured bytes are what "
        "DRAM read and wrote. The counters ran on one page per resolution and on its first decode "
        "step, which stands for all steps. Other pages run the same kernels on the same shapes; "
        "only the rows that each routed expert gets differ."
    ),
    "operators": (
        "The longest operators of each stage in the traced passes, which the profiler slows: "
        "compare shares, not times. TFLOP/s is the counted FLOPs of an operator ÷ its time here; "
        "the ceiling is the best matrix product measured on this device. A dash marks operators "
        "without counted arithmetic (copies, element-wise work) and unknown FLOPs. operators.md "
        "has more rows and defines the columns."
    ),
}


def roofline(data: ReportData) -> str:
    """How to read the roofline of this data."""
    sentences = [
        "Left of the ridge memory bandwidth limits a stage, right of it arithmetic does. A stage "
        "far below the roof is limited by neither."
    ]
    measured = all(
        data.hardware.peaks[variant.model.dtype].source == "measured" for variant in data.variants
    )
    sentences.append(
        "The roof was measured on this device: its best matrix product, and a copy."
        if measured
        else "The solid roof is the peak that MFU refers to. The dashed roof was measured on this "
        "device: its best matrix product, and a copy."
    )
    if any(variant.stats["mfu_prefill_busy"].mean is not None for variant in data.variants):
        sentences.append(
            "Points are over wall time. The bar at the end of a dotted line is over the device's "
            "busy time alone: in between, the device waits for the host."
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
        "Bytes for MBU and FLOP per byte are the least that must move: every active weight and the "
        "KV cache, each once. Activations and repeated reads are left out; in prefill they are "
        "large.",
        "Busy shares divide the busy time of the traced pass by the time of the timed pass: the "
        "profiler slows launches, but hardly kernels.",
        "The length of the device's wait comes from the timed pass, its split from the traced "
        "pass, whose host is slower.",
    ]
    for dtype in dtypes:
        peak = data.hardware.peaks[dtype]
        found.append(f"Peak for {dtype}: {peak.tflops:g} TFLOP/s, {peak.source} ({peak.detail}).")
    if any(variant.model.weights == "dummy" for variant in data.variants):
        found.append(
            "Dummy weights choose experts at random and write no real text. Times and FLOPs follow "
            "from the shapes; max_new_tokens sets the length of the answer."
        )
    return found


def not_measured(data: ReportData) -> list[str]:
    """What the report cannot say, and why."""
    found = [
        "Quality of the text: this report is about time.",
        "Different pages at once: a batch holds copies of one page.",
    ]
    if not data.counted:
        found.insert(0, "HFU (FLOPs that the hardware executed): no hardware counters were read.")
    if text := endings.unknown(data):
        found.append(text)
    if all(v.stats["decode_tokens_per_s"].mean is None for v in data.variants):
        found.append(
            "Decode steps and their rate: the answers have one token, and prefill makes it."
        )
    if all(v.stats["prefill_device_busy_ms"].mean is None for v in data.variants):
        found.append(
            "Device busy time and kernels: on a CPU the host is the device, and its traces hold "
            "no kernels."
            if data.hardware.device.kind == "cpu"
            else "Device busy time and kernels of prefill: no trace of it is whole (see Checks)."
        )
    if all(run.stats["energy_j"].mean is None for page in data.pages for run in page.measured):
        reasons = "; ".join(data.survey.reasons("energy_j")) or "no value"
        found.append(f"Energy: {reasons}.")
    return found
