"""The report: one data object, and the texts and figures made from it.

Who asks where something is decided: what the texts are made from, `data`, filled by `gather` (with
`survey` for the runs, `operators` and `merging` for operator and kernel tables, `outliers` for runs
that stand out); what limits a stage, `limits`; what to try next, `recommendations`; what is
suspicious, `checks`; the sentences, `words`, `definitions` and `stakeholder`; the tables, `tables`,
`operator_tables`, `flops` and `appendix`, made of `cells`; the figures, figures/; the head for
programs, `head`; how a number looks, `formats`; escaping and templates, `render` and templates/.
`budget` is the text of flops.md.
"""
