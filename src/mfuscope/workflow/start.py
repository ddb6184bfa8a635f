"""The start of a process that reads the Snakefile: settings resolved, the plan made."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mfuscope.config.settings import Settings, load_schema, resolve_settings
from mfuscope.config.yaml_files import check_yaml_file
from mfuscope.core.errors import Findings, UserErrors
from mfuscope.pages.checks import known_pages
from mfuscope.pages.decoding import PageFacts
from mfuscope.planning.plan import Plan, make_plan
from mfuscope.worker.runtime import Limits, Owner, adopt
from mfuscope.workflow.call import Call
from mfuscope.workflow.due import outlook
from mfuscope.workflow.internals import Engine

_MANY: Final = 5_000  # runs: a minute of planning


def open_call(
    engine: Engine,
    config: Mapping[str, Any],
    root: Path,
    results: Path,
    log: Callable[..., None],
) -> tuple[Call, Plan]:
    """The call that this process is, or belongs to, and its plan.

    Args:
        config: Snakemake's, of configuration files and --config.
        root: the folder of the Snakefile.
        results: the folder of results.
        log: logs an empty record with the call's `Outlook` as ``extra``, for the terminal.

    Raises:
        UserErrors: everything that is wrong with settings, models and pages.
    """
    schema = load_schema(root / "workflow" / "schemas" / "config.schema.yaml")
    bundled = root / "config" / "models"
    known = known_pages(results / "inputs.csv") if engine.is_main_process else None
    inherited = Call.inherited()
    if inherited is None or (engine.is_main_process and not inherited.partial):
        findings = Findings()
        settings = _resolve(engine, config, schema, findings)
        valid = not findings.errors
        try:
            plan = make_plan(settings, bundled, results=results, known=known, findings=findings)
        except UserErrors:
            if valid and (rest := _without_unreadable(settings, bundled, results, known or {})):
                log("", extra={"outlook": outlook(rest, results, len(rest.skipped))})
            raise
        log("", extra={"outlook": outlook(plan, results)})
        call = _call(settings, plan.device)
    else:
        call = inherited
        if not engine.is_main_process:
            call = replace(call, owner=str(adopt(Owner.parse(call.owner))))
        settings = resolve_settings({**call.settings, "device": call.device}, {}, {}, schema)
        plan = make_plan(settings, bundled, results=results, known=known)
    call.hand_on()
    return call, plan


def notes(plan: Plan, results: Path) -> Iterator[str]:
    """What a user should know of a plan, a line each."""
    for page in plan.skipped:
        yield f"left out: {page.reason.removeprefix('images: ')}"
    yield from plan.notes
    if plan.left_out:
        kind = plan.device.partition(":")[0]
        other = "cuda" if kind == "cpu" else "cpu"
        yield f"variants left out on {kind} (only_on: {other}): {', '.join(plan.left_out)}"
    if plan.device == "cpu" and any(inference.counters for inference in plan.variants.values()):
        yield "no hardware counters: Nsight Compute counts on CUDA GPUs, and the CPU measures"
    runs = len(plan.runs())
    if runs > _MANY:
        yield f"planning {runs} runs, which takes a while ..."


def _without_unreadable(
    settings: Settings, bundled: Path, results: Path, known: Mapping[str, PageFacts]
) -> Plan | None:
    """The plan of the pages that can be read; None if more than pages stands in the way."""
    try:
        settings = replace(settings, on_bad_image="skip")
        return make_plan(settings, bundled, results=results, known=known)
    except UserErrors:
        return None


def _resolve(
    engine: Engine, config: Mapping[str, Any], schema: Mapping[str, Any], findings: Findings
) -> Settings:
    for file in engine.configuration_files:
        check_yaml_file(file, findings)
    given = engine.command_line
    return resolve_settings(
        file=_without(config, given),
        command_line=given,
        environment=os.environ,
        schema=schema,
        findings=findings,
    )


def _without(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What configuration files say, less what --config gave in their place."""
    left: dict[str, Any] = {}
    for key, value in config.items():
        if key not in given:
            left[key] = value
        elif isinstance(value, Mapping) and isinstance(given[key], Mapping):
            left[key] = _without(value, given[key])
    return left


def _call(settings: Settings, device: str) -> Call:
    started = time.time()
    return Call(
        id=f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(started))}-{secrets.token_hex(3)}",
        settings=settings.overrides,
        device=device,
        owner=str(Owner.of(os.getpid())),
        limits=Limits(settings.keep_alive, settings.run_timeout, settings.start_timeout),
        runtime_dir=str(settings.runtime_dir),
        max_image_megapixels=settings.max_image_megapixels,
        started=started,
    )
