"""The report: one data object, and the texts and figures made of it.

- `gather` fills `data` from the artefacts, with `survey` (facts of the runs), `operators` and
  `merging` (operator and kernel tables), `tried` (variants beside the reference), `sessions`,
  `host_record` and `outliers`.
- `limits` decides what limits a stage, `recommendations` what to try next, `spread` where it went
  when repeats differ, `validity`, `validity_of_variants` and `validity_of_sessions` what is
  suspicious (each a `check`).
- `wording`, `definitions` and `stakeholder` hold sentences; `side_by_side`, `metric_tables`,
  `operator_tables`, `flops`, `reconciliation` (hardware counters, with `padding` and
  `counted_operators`) and `appendix` hold tables of `cells`; `figures` draws; `formats` formats
  numbers.
- `render` fills the templates; `head` makes report.json; `budget` makes flops.md.
"""
