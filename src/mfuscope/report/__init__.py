"""The report: one data object, four texts.

Who asks where something is decided: what is gathered and how it is aggregated, `data` (with
`survey` for the runs and `operators` for the operator tables); what is suspicious, `checks`; the
sentences, `words`; the tables, `tables`; how a number looks, `formats`; escaping and templates,
`render` and templates/.
"""
