"""Text in one line."""

from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.text import reason


@given(text=st.text(), longest=st.integers(min_value=10, max_value=40))
def test_a_reason_is_a_line_of_limited_length(text: str, longest: int) -> None:
    said = reason(ValueError(text), longest)
    assert 0 < len(said) <= longest
    assert "\n" not in said
    words = " ".join(text.split())
    assert said in (words, "ValueError") or said == f"{words[: longest - 3]}..."
