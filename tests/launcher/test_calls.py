"""The command, called in this process."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import NAMES, ROOT, SETTINGS, SMALL, write

from unlearn.errors import InputError
from unlearn.launcher import errors, experiments, flags
from unlearn.methods import METHODS

# Listings


def test_help_lists_experiments_and_flags_but_none_of_absl(call):
    code, text, errors = call("--seeds=nonsense", "--help")
    assert code == 0 and errors == "" and call("--helpshort")[1] == text
    for name in NAMES:
        assert f"{name}: " in text
    for name in flags.define():
        assert f"--{name}" in text
    assert "--config." in text and "--v," not in text and "logtostderr" not in text
    assert len(text.splitlines()) < 48 + len(NAMES)


def test_list_experiments(call):
    code, text, _ = call("--list_experiments")
    lines = text.splitlines()
    assert code == 0 and [line.partition(":")[0] for line in lines] == NAMES
    assert all(line.partition(": ")[2].strip() for line in lines)


def test_list_methods(call):
    from unlearn import methods, training_time

    code, text, errors = call("--list_methods")
    assert code == 0, errors
    first, second = text.split("\n\n")
    rows = {line.split()[0]: line for line in first.splitlines()[1:]}
    assert rows.keys() == methods.METHODS.keys()
    for name, info in methods.METHODS.items():
        assert info.paper in rows[name] and ", ".join(info.needs) in rows[name]
        assert (" yes " in rows[name]) == info.ascends
    rows = {line.split()[0]: line for line in second.splitlines()[1:]}
    assert rows.keys() == training_time.METHODS.keys()
    for name, info in training_time.METHODS.items():
        assert info.guarantee in rows[name] and info.paper in rows[name]


def shell_words(text):
    """What a shell makes of the lines, one word a line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    script = "\n".join(f"printf '%s\\0' {line}" for line in lines)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_printed_settings_pasted_into_a_shell_are_the_same_settings(call, name):
    """Those of smoke, whose data have names of many signs, onto the largest preset."""
    chosen = f"--experiment={name}", "--print_config"
    code, text, errors = call(*chosen, "--preset=smoke")
    assert code == 0, errors
    assert text.splitlines()[0] == f"# {name}, preset smoke (as given)"
    code, again, errors = call(*chosen, "--preset=full", *shell_words(text))
    assert code == 0, errors
    assert again.splitlines()[1:] == text.splitlines()[1:]


def test_all_methods_are_those_that_fit_the_request(call):
    def chosen(*words):
        code, text, errors = call("--methods=all", "--print_config", *words)
        assert code == 0, errors
        (line,) = re.findall(r"--config\.run=(\S+)", text)
        return line.split(",")

    at_random = chosen()
    assert {"finetune", "ssd"} <= set(at_random)
    of_a_class = chosen("--config.forget.kind=class", "--config.forget.classes=1,")
    only = {name for name, info in METHODS.items() if info.scope == "class"}
    assert only and set(of_a_class) - set(at_random) == only


def test_ids_and_names_are_printed_as_they_are_read(call):
    given = "--config.forget.ids=cat/1.png,007", "--config.forget.classes=3,dog"
    code, text, errors = call("--preset=smoke", "--print_config", *given)
    assert code == 0, errors
    words = shell_words(text)
    assert "--config.forget.ids=('cat/1.png', '007')" in words
    assert "--config.forget.classes=('3', 'dog')" in words
    again = call("--preset=smoke", "--print_config", *words)[1]
    assert again.splitlines()[1:] == text.splitlines()[1:]


def test_every_kind_of_setting_is_printed_and_read(call, tmp_path):
    path = write(tmp_path / "kinds.py", SETTINGS)
    code, text, errors = call(f"--experiment={path}", "--preset=cpu", "--print_config")
    assert code == 0, errors
    lines = text.splitlines()
    assert "--config.one=7," in lines and "--config.words=a,b+c" in lines
    assert "# none is None: no flag sets it" in lines
    words = shell_words(text)
    assert "--config.text=it's $HOME" in words and "--config.odd=('a b', '7')" in words
    given = f"--experiment={path}", "--preset=smoke", "--print_config", *words
    assert call(*given)[1].splitlines()[1:] == lines[1:]


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", (7,)),
        ("7,", (7,)),
        ("(7,)", (7,)),
        ("3,5", (3, 5)),
        ("3, 5", (3, 5)),
        ("", ()),
        ("()", ()),
        ("a,b+c", ("a", "b+c")),
        ("('a b',)", ("a b",)),
        ("finetune", ("finetune",)),
        ("cat/1.png", ("cat/1.png",)),
        ("cat/a (2).png", ("cat/a (2).png",)),
        ("7,dog", ("7", "dog")),
        ("1_2", ("1_2",)),
        ("3,+5", ("3", "+5")),
        ("007", ("007",)),
        ("1-5", ("1-5",)),
        ("0x10", ("0x10",)),
    ],
)
def test_spellings_of_a_tuple(text, value):
    from ml_collections import ConfigDict

    config = ConfigDict({"a": {"some": ()}})
    flags.define_settings(flags.define(), [f"--config.a.some={text}"], config)
    assert config.a.some == value


# Bad input


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--experiment=cifar_forge"], "cifar_forget"),
        (["--experiment="], "no experiment ''"),
        (["--preset=huge"], "smoke"),
        (["--config.train.epoch=3"], "Did you mean train.epochs?"),
        (["--config.model.norm=group"], "unknown setting"),
        (["--config.run.x=3"], "unknown setting"),
        (["--noconfig.data.flop"], "unknown setting"),
        (["--config"], "--config"),
        (["--config.train=3"], "--config.train"),
        (["--config.train.epochs"], "--config.train.epochs"),
        (["--experiment=speed", "--seeds=2"], "no seeds"),
        (["--experiment=speed", "--tune"], "no methods to tune"),
        (["--experiment=speed", "--config.parts=foo"], "foo"),
        (["--config.methods.scrub.epochs=many"], "many"),
        (["--config.train.epochs=2.5"], "2.5"),
        (["--nonsense=1"], "nonsense"),
        (["--prest=cpu"], "preset"),
        (["--seeds=0"], "seeds"),
        (["--seeds=two"], "two"),
        (["--methods=finetune,scrubb"], "scrubb"),
        (["finetune"], "finetune"),
        (["--config.forget.fraction=0"], "forget"),
        (["--config.data.name=npz:/no/such.npz"], "/no/such.npz"),
        (["--config.train.batch_size=9999"], "batch_size"),
        (["--workdir=/proc/nowhere"], "/proc/nowhere"),
        (["--workdir=/dev/null/x"], "/dev/null"),
        (["--workdir="], "--workdir is empty: name a folder"),
        (["--config.data.name=mnist", "--data_dir=/dev/null"], "/dev/null"),
    ],
)
def test_bad_input_is_one_line_on_stderr(refused, words, expected):
    assert expected in refused(*words)


def test_a_flag_of_the_launcher_may_follow_a_setting_in_two_words(call):
    words = "--config.train.epochs", "3", "--preset=full", "--print_config"
    code, text, errors = call(*words)
    assert code == 0, errors
    assert "preset full" in text and "--config.train.epochs=3" in text.splitlines()


def test_advice_is_spelt_as_flags(refused, call, tmp_path):
    from ml_collections import ConfigDict

    config = ConfigDict({"seeds": 2, "forget": {"kind": "a", "classes": ()}})
    text = (
        "forget.kind=class needs classes, such as forget.classes=7,: use another folder"
    )
    assert errors.as_flags(text, config) == (
        "--config.forget.kind=class needs classes, such as --config.forget.classes=7,: "
        "use another folder (--workdir=...)"
    )
    again = "my.forget.kind=1 --config.forget.kind=class, forget.kind = x"
    assert errors.as_flags(again, config) == again
    assert errors.as_flags("a=1", ConfigDict()) == "a=1"
    write(tmp_path / "digits_forget", "not a folder")
    assert "digits_forget" in refused(*SMALL)


# Files of a user's own


@pytest.mark.parametrize(
    "text, expected",
    [
        ("import nosuchmodule", "line 1: ModuleNotFoundError: No module named 'nosuch"),
        ("\n\ndef get_config(preset:\n", "line 3: SyntaxError"),
        ("x = 1", "no get_config"),
        ("\nget_config = 1 / 0", "line 2: ZeroDivisionError"),
        ("def get_config(preset):\n    return {}", "returns a dict"),
        ("def get_config(preset):\n    return preset.x.y", "line 2: AttributeError"),
        ("def get_config():\n    return None", "TypeError: get_config()"),
        (SETTINGS + "def run(config, folder): pass", "data_dir=None"),
        (SETTINGS + "import unlearn; raise unlearn.InputError('so')", ": so"),
        ("import flax.nosuch", "flax.nosuch is not installed: pip install"),
        ("\0", "Error"),
    ],
)
def test_a_bad_file_is_one_line(refused, tmp_path, text, expected):
    path = write(tmp_path / "mine.py", text)
    line = refused(f"--experiment={path}")
    assert expected in line and "unexpected" not in line
    assert not list(tmp_path.glob("traceback*"))


def test_a_missing_file_and_a_folder(refused, tmp_path):
    assert "no such file" in refused(f"--experiment={tmp_path / 'mine.py'}")
    assert "no such file" in refused(f"--experiment={tmp_path}")
    assert "no such file" in refused("--experiment=mine.py")


def test_a_path_into_the_experiments_is_that_experiment(refused, monkeypatch):
    import experiments.digits_forget as expected

    monkeypatch.chdir(ROOT)
    path = "experiments/digits_forget.py"
    assert experiments.load(path) is expected
    assert experiments.load(str(ROOT / path)) is expected
    assert "no get_config" in refused("--experiment=experiments/_benchmark.py")


def test_a_file_runs_in_its_folder_with_its_neighbours(call, tmp_path, monkeypatch):
    write(tmp_path / "neighbour.py", "WORD = 'hello'")
    text = f"""{SETTINGS}
import dataclasses, neighbour

@dataclasses.dataclass
class Needs:
    its: 'module'

def run(config, folder, *, data_dir=None):
    print(neighbour.WORD, config.one, folder, data_dir)
"""
    write(tmp_path / "mine.py", text)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = "--experiment=~/mine.py", "--workdir=~/out", "--data_dir=~/data"
    code, text, errors = call(*words, "--config.one=8")
    assert code == 0, errors
    expected = f"hello (8,) {tmp_path}/out/mine {tmp_path}/data"
    assert text.splitlines() == ["mine, preset cpu (as given)", expected]


def test_a_file_may_tune_in_its_own_way(call, refused, tmp_path):
    text = (
        SETTINGS.replace("{", "{'tune': {}, ", 1)
        + "\nfrom unlearn.pipeline import tune"
    )
    own = text + "\ndef tune(config, folder, *, data_dir=None): print('tuned', folder)"
    words = f"--workdir={tmp_path}", "--tune"
    code, text, errors = call(f"--experiment={write(tmp_path / 'a.py', own)}", *words)
    assert code == 0 and text.splitlines()[-1] == f"tuned {tmp_path}/a", errors
    path = write(tmp_path / "b.py", own.replace(", *, data_dir=None", ""))
    line = refused(f"--experiment={path}", *words)
    assert f"tune of {path} must be tune(config, folder, *, data_dir=None)" in line


@pytest.mark.parametrize("there", [True, False])
def test_a_traceback_goes_to_a_file(refused, tmp_path, there):
    text = "folder.mkdir(); " if there else ""
    text = f"{SETTINGS}\ndef run(config, folder, data_dir):\n    {text}[][3]"
    line = refused(f"--experiment={write(tmp_path / 'mine.py', text)}")
    assert "unexpected IndexError: list index out of range; the traceback is" in line
    path = Path(line.rpartition(" ")[2])
    assert path.parent == (tmp_path / "mine" if there else tmp_path)
    assert "Traceback" in path.read_text() and "[][3]" in path.read_text()


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError("3 GiB"), "lower --config.train.batch_size"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"), "out of memory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "/data/mnist"), "/data/mnist: Perm"),
        (ModuleNotFoundError("No module", name="rich.table"), "pip install -r"),
        (InputError("first\nsecond"), "first"),
    ],
)
def test_errors_of_the_system(error, expected):
    from ml_collections import ConfigDict

    line = errors.explain(error, ConfigDict({"train": {"batch_size": 8}}))
    assert expected in line and "\n" not in line and "traceback" not in line


def test_methods_that_diverged_end_with_code_1(refused, tmp_path):
    text = f"""{SETTINGS}
from types import SimpleNamespace

def run(config, folder, *, data_dir=None):
    return SimpleNamespace(diverged=("scrub", "ssd") if config.flag else ())
"""
    path = write(tmp_path / "mine.py", text)
    line = refused(f"--experiment={path}")
    assert "scrub, ssd diverged" in line and "--workdir" in line
