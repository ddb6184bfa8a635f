"""The report: one data object, four texts.

Who asks where something is decided: what the texts are made from, `data`, filled by `gather` (with
`survey` for the runs and `operators` for the operator tables); what is suspicious, `checks`; the
sentences, `words` and `stakeholder`; the tables, `tables` and `appendix`, made of `cells`; how a
number looks, `formats`; escaping and templates, `render` and templates/.
"""
