"""The report: one data object, and the texts and figures made of it.

- `gather` fills `data` from the artefacts, with `survey` (facts of the runs), `operators` and
  `merging` (operator and kernel tables), `tried` (variants beside the reference), `sessions`,
  `host_record` and `outliers`.
- `limits` decides what limits a stage, `recommendations` what to try next, `spread` where it went
  when repeats differ, `validity`, `validity_of_variants` and `validity_of_sessions` what is
  suspicious (each a `check`), `publishable` which numbers may stand in the headline.
- `notices`, `verdict`, `headline` and `to_try` (with `entries`) hold what decides, at the top.
- `wording`, `definitions`, `best` and `stakeholder` hold sentences; `side_by_side`,
  `metric_tables`, `operator_tables`, `flops`, `reconciliation` (hardware counters, with `padding`
  and `counted_operators`) and `appendix` hold tables of `cells`; `figures` and `bars` draw;
  `formats` formats numbers, `names` the names of pages.
- `render` fills the templates; `head` makes report.json; `budget` makes flops.md.
"""
