"""The notebook: it runs with the smoke preset; what was kept of it is a whole run."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "experiments" / "colab.ipynb"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs(notebook):
    return [out for cell in notebook.cells for out in cell.get("outputs", ())]


def printed(cell):
    return "".join(out.get("text", "") for out in cell.outputs)


def images(notebook):
    data = (out.get("data", {}) for out in outputs(notebook))
    return sum("image/png" in one for one in data)


def test_the_outputs_kept_are_those_of_a_whole_run():
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    numbers = [cell.execution_count for cell in code]
    assert numbers == list(range(1, len(code) + 1))
    assert all(out.output_type != "error" for out in outputs(notebook))
    assert images(notebook) >= 4
    assert str(ROOT) not in NOTEBOOK.read_text()


def test_it_says_where_an_address_is_missing(monkeypatch):
    (cell,) = [cell for cell in read().cells if "SOURCE = " in cell.source]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("subprocess.run", None)
    with pytest.raises(SystemExit, match="^Set SOURCE"):
        exec(cell.source, {})


MISLABELLED = "labels = np.array(labels); labels[forget] = (labels[forget] + 1) % 10"
SMALLER = {
    'PRESET = "cpu"': 'PRESET = "smoke"',
    '"finetune", "neggrad_plus", "salun", "scrub"': '"finetune",',
    '"neggrad_plus": dict(': "# dict(",
    "train, test = slice(0, 1400)": "train, test = slice(0, 200)",
    "slice(1400, None)": "slice(200, 400)",
    "jnp.arange(1400)": "jnp.arange(200)",
    "forget = np.arange(30)": f"forget = np.arange(30); {MISLABELLED}",
    "epochs=12": "epochs=30",
    "nn.Conv(16,": "nn.Conv(4,",
    "MODELS = 24": "MODELS = 9",
}
"""One method, four filters, a seventh of the digits; the forgotten leave a trace."""


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    notebook, kept = read(), read()
    for old, new in SMALLER.items():
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=where).execute()
    assert images(notebook) == images(kept)
    assert (tmp_path / "runs" / "cifar_forget" / "summary.md").is_file()
    lines = printed(notebook.cells[-2]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        *("original", "retrain", "finetune"),
    ]
    found = {line.split()[0]: float(line.split()[-1]) for line in lines[1:]}
    assert found["original"] > 0.75 > found["retrain"]
