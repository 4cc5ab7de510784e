"""Reports of a run, from its results and its models' logits.

- `summary`, `csv_files`, `tables`: statistics over seeds, files, what people read
- `figures`, `gap_figure`, `audit_figures`, `class_sweep`: figures
- `plotting`, `text`: parts of figures; names made safe to show
- `schema`, `model_order`, `page`: the facts of an audit's page, and the page
- `request_page`: the report of one request to erase
- `progress`: lines while a run goes on, and the time that is left
"""
