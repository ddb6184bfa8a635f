"""One page for readers without technical background: stakeholder.md and its twin stakeholder.html.

Both are rendered from one `OnePage`, so that they say the same. `setups` has the ways to run the
model that stand side by side, `digits` rounds their numbers to what their intervals allow,
`steps` what to do first, `certainty` how sure all this is, `words` why it is so.
"""

from mfuscope.report.stakeholder.page import OnePage, one_page

__all__ = ["OnePage", "one_page"]
