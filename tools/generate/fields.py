"""A field in words: its type and limits, its unit, and whether it is required."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from generate.markdown import code, escape, link
from generate.schemas import Json, Part, is_shared

#: Pattern of words in a name -> unit; the first match counts.
UNITS = {
    "gflops_per_token": "GFLOP/token",
    "tokens_per_s": "tokens/s",
    "flop_per_byte": "FLOP/byte",
    "kernels_per_step": "kernels/step",
    "gb_per_token": "GB/token",
    "mfu|mbu|share|error": "fraction",
    "tflops": "TFLOP/s",
    "gflops": "GFLOP",
    "flops": "FLOP",
    "gbs": "GB/s",
    "gb": "GB",
    "bytes": "bytes",
    "tokens": "tokens",
    "ms": "ms",
    "mhz": "MHz",
    "s$": "s",
    "j$": "J",
    "w$": "W",
    "c$": "°C",
}
_UNITS = [(re.compile(f"(?:^|_)(?:{name})(?:_|$)"), unit) for name, unit in UNITS.items()]

_KINDS = {"array": "list"}
# Keywords that say something of a list, or of a text, where a part may be either.
_OF_LISTS = {"items", "minItems", "maxItems", "uniqueItems"}
_OF_TEXTS = {"pattern", "minLength", "maxLength"}
# Keywords that `_limits` puts into words, and keywords that other functions use.
_SHOWN = {
    *("enum", "pattern", "minLength", "maxLength", "minimum", "exclusiveMinimum", "maximum"),
    "not",
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "propertyNames"),
    "required",
}
_ELSEWHERE = {
    *("$schema", "$id", "$defs", "$ref", "type", "title", "description", "default", "properties"),
    *("items", "additionalProperties", "x-path", "x-wanted"),
}


def heading(part: Part) -> str:
    """The heading under which an object or a shared definition is described."""
    title, trail = part.schemas[part.home]["title"], ".".join(part.trail).replace(".[]", "[]")
    if is_shared(part.schemas, part.home):
        return trail
    return f"{title}: {trail}" if trail else str(title)


def type_words(part: Part) -> str:
    """Type and limits, with a link where another section describes them.

    Raises:
        ValueError: this module has no words for a keyword, which the page would leave out.
    """
    if part.target is None:
        return _own_words(part)
    whole, elsewhere = part.whole, _link(part)
    if _is_setting(part):
        return f"{_own_words(whole)} ({elsewhere})"
    if elsewhere:
        return ", ".join([f"{_kind(whole)} ({elsewhere})", *_limits(part)])
    return _own_words(whole)


def unit(part: Part) -> str:
    """The unit according to the field's name; empty for no unit and for fields without numbers."""
    leaf = part.whole
    while (element := leaf.element) is not None:
        leaf = element.whole
    if not {"integer", "number"} & set(leaf.types):
        return ""
    return next((unit for name, unit in _UNITS if name.search(part.trail[-1])), "")


def presence(part: Part, required: bool) -> str:
    """Whether the field is required and may be null, and its default."""
    content = part.whole.content
    words = ["required" if required else "optional"]
    if "null" in part.types:
        words.append("may be null")
    if "default" in content and not required:
        words.append(f"default {code(json.dumps(content['default'], ensure_ascii=False))}")
    return ", ".join(words)


def description(part: Part) -> str:
    """The meaning of the field, and of each value of a list or map."""
    content = part.whole.content
    if _link(part) and "description" not in part.content:
        return f"{summary(content['description'])}."  # the linked section has the rest
    texts = [content.get("description", "")]
    element = part.element
    if element is not None and not element.is_record and "description" in element.content:
        texts.append(f"Each: {element.content['description']}")
    return escape(" ".join(filter(None, texts)))


def summary(text: str) -> str:
    """The first clause of a description."""
    return escape(re.split(r"[.:;](?: |$)", text, maxsplit=1)[0])


def _is_setting(part: Part) -> bool:
    """Whether a field of an artefact refers to a setting."""
    target = part.target
    if target is None or target.home == part.home:
        return False
    return str(part.schemas[target.home].get("x-path", "")).startswith("config/")


def _link(part: Part) -> str:
    """A link to the target of a part's reference; empty where the target has no section."""
    target = part.target
    if target is None:
        return ""
    if _is_setting(part):
        section = heading(replace(target, trail=target.trail[:-1]))
        return f"setting {link(code('.'.join(target.trail)), section)}"
    if target.is_record or is_shared(part.schemas, target.home):
        return link(target.trail[-1], heading(target))
    return ""


def _kind(part: Part) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in part.types if kind != "null")


def _own_words(part: Part) -> str:
    if {"string", "array"} <= set(part.types):
        text = {k: v for k, v in part.content.items() if k not in _OF_LISTS} | {"type": "string"}
        several = {k: v for k, v in part.content.items() if k not in _OF_TEXTS} | {"type": "array"}
        return ", or ".join(_own_words(replace(part, content=one)) for one in (text, several))
    element = part.element
    if part.is_record:
        return link(_kind(part), heading(part))
    if element is None:
        return ", ".join([_kind(part), *_limits(part)])
    limits = f" ({', '.join(words)})" if (words := _limits(part)) else ""
    if "[]" in element.trail[-1:]:
        return f"list{limits} of {type_words(element)}"
    names = part.inside("name", {"type": "string"} | part.content.get("propertyNames", {}))
    return f"map{limits} from {type_words(names)} to {type_words(element)}"


def _limits(part: Part) -> list[str]:
    """Limits that a part sets itself, without the limits of its target."""
    own = part.content
    unknown = set(own) - _SHOWN - _ELSEWHERE
    if unknown:
        where = ".".join((part.home, *part.trail))
        raise ValueError(f"{where}: generate/fields.py has no words for {sorted(unknown)}")
    return [] if part.is_record else list(_limit_words(own))


def _limit_words(own: Json) -> Iterator[str]:
    if "enum" in own:
        yield "one of " + _codes(value for value in own["enum"] if value is not None)
    if "pattern" in own:
        yield f"like {code(own['pattern'])}"
    if "minLength" in own:
        yield _at_least(own["minLength"], "character")
    if "maxLength" in own:
        yield f"at most {own['maxLength']} characters"
    if {"minimum", "maximum"} <= set(own):
        yield f"{own['minimum']} to {own['maximum']}"
    else:
        for bound, sign in (("minimum", "≥"), ("exclusiveMinimum", "above"), ("maximum", "≤")):
            if bound in own:
                yield f"{sign} {own[bound]}"
    if "not" in own:
        yield f"no multiple of {own['not']['multipleOf']}"
    if "minItems" in own and own["minItems"] == own.get("maxItems"):
        yield f"exactly {own['minItems']}"
    else:
        if "minItems" in own:
            yield _at_least(own["minItems"], "item")
        if "maxItems" in own:
            yield f"at most {own['maxItems']}"
    if own.get("uniqueItems"):
        yield "each once"
    if "minProperties" in own:
        yield _at_least(own["minProperties"], "key")
    if "maxProperties" in own:
        yield f"at most {own['maxProperties']} keys"
    if "required" in own:
        yield "always with " + _codes(own["required"])
    if "$ref" in own and "propertyNames" in own:
        yield "keys " + _codes(own["propertyNames"]["enum"])


def _at_least(number: int, what: str) -> str:
    return "not empty" if number == 1 else f"at least {number} {what}s"


def _codes(values: Iterable[object]) -> str:
    return ", ".join(code(value) for value in values)
