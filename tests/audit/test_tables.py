"""Columns of tables and of their files."""

from unlearn.audit import model_tables, per_example


def test_names_of_columns_leave_room_for_those_of_intervals():
    for columns in (per_example.PER_EXAMPLE, model_tables.OUTPUTS, model_tables.LAYERS):
        keys = [key for key, *_ in columns]
        ends = {f"{key}_{end}" for key in keys for end in ("low", "high")}
        assert not ends & set(keys) and len(set(keys)) == len(keys)
