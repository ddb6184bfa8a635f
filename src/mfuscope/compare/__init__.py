"""Two sets of runs held side by side.

- `ratios`: a quantity of one set divided by that of the other, with its 95 % interval.
- `verdicts`: what such an interval says of a metric, in a word.
- `variants`: the variants of one call against the first one, comparison.csv.
"""
