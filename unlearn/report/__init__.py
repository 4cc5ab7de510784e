"""Reports of a run, from its results and its models' logits.

- `summary`, `csv_files`, `tables`: statistics over seeds, files, what people read
- `figures`, `gap_figure`, `audit_figures`, `class_sweep`: figures
- `plotting`, `text`: parts of figures; names made safe to show
- `schema`, `page`: the facts of an evidence page, and the page
- `progress`: lines while a run goes on, and the time that is left
"""
