"""The commands of a deployment, called in this process."""

import pytest
from deployments import SYNTHETIC

from unlearn.launcher import commands

QUICK = (
    f"--config.data.name={SYNTHETIC}",
    "--config.model.name=mlp",
    "--config.model.mlp.widths=8,",
    "--config.methods.sisa.epochs=4",
    "--config.methods.sisa.shards=3",
    "--config.methods.sisa.slices=2",
    "--config.methods.sisa.batch_size=8",
)


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("3\n14\n")
    return path


@pytest.fixture
def deployment(call, tmp_path):
    folder = tmp_path / "dep"
    code, text, errors = call(
        "deploy", f"--deployment={folder}", "--method=sisa", *QUICK
    )
    assert code == 0, errors
    assert f"deployed in {folder}" in text
    return f"--deployment={folder}"


def test_a_request_from_the_command_line(call, deployment, ids, tmp_path):
    asked = "request", deployment, f"--ids={ids}", "--reason=consent withdrawn"
    code, text, errors = call(*asked, "--dry_run")
    assert code == 0 and "nothing was changed" in text, errors
    code, text, errors = call(*asked, "--reference=T-1")
    assert code == 0 and "request 1 is answered" in text, errors
    assert "Nothing is left" in call(*asked)[1]
    code, text, _ = call("status", deployment)
    assert code == 0 and "answered: 1 request," in text
    code, text, _ = call("verify", deployment, "--shard=1")
    assert code == 0 and "shard 1" in text and "as recorded" in text
    code, text, _ = call("purge", deployment)
    assert code == 0 and "not reached" in text
    page = (tmp_path / "dep" / "requests" / "0001" / "report.html").read_text()
    assert f"python launch.py verify {deployment} --shard=" in page
    assert f"python launch.py purge {deployment}" in page


def test_the_queue_from_the_command_line(call, deployment, ids):
    asked = f"--ids={ids}", "--reason=r", "--queue"
    code, text, errors = call("request", deployment, *asked)
    assert code == 0 and ": 1 request" in text, errors
    code, text, errors = call("request", deployment, "--batch")
    assert code == 0 and "request 1 is answered" in text, errors
    assert "No request waits" in call("request", deployment, "--batch")[1]


def test_unknown_ids_name_the_flag_that_leaves_them_out(call, deployment, ids):
    ids.write_text("3\n999\n")
    asked = "request", deployment, f"--ids={ids}", "--reason=r"
    code, _, errors = call(*asked)
    assert code == 1 and len(errors.splitlines()) == 1
    assert "unknown id: 999" in errors and "(--skip_unknown)" in errors
    assert call(*asked, "--skip_unknown")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["request"], "request needs --deployment, --ids, --reason"),
        (["status", "--deployment=none"], "none holds no deployment"),
        (["verify", "--deployment=x", "--shrd=1"], "did you mean --shard"),
        (["verify", "--deployment=x", "--shard=a"], "shard"),
        (["export", "--deployment=x"], "export needs --to"),
        (["deploy", "--deployment=x"], "deploy needs --method"),
        (["deploy", "--deployment=x", "--method=sisaa"], "did you mean sisa"),
        (
            ["deploy", "--deployment=x", "--method=sisa", "--shards=a"],
            "--shards takes numbers",
        ),
        (
            ["deploy", "--deployment=x", "--method=sisa", "--config.data.nam=digits"],
            "unknown setting data.nam",
        ),
        (
            ["deploy", "--deployment=x", "--method=sisa", "--config.forget.seed=1"],
            "unknown setting forget.seed",
        ),
        (
            [
                "deploy",
                "--deployment=x",
                "--method=ssd",
                "--config.model.weights=w.npz",
            ],
            "there is no file of weights",
        ),
        (
            [
                "deploy",
                "--deployment=x",
                "--method=sisa",
                "--config.model.weights=w.npz",
            ],
            "leave model.weights out",
        ),
        (["request", "--deployment=x", "--batch", "--ids=i"], "leave --ids out"),
        (["request", "--deployment=x", "--batch", "--column=c"], "leave --column out"),
        (
            [
                *("request", "--deployment=x", "--ids=i", "--reason=r"),
                *("--queue", "--dry_run"),
            ],
            "leave it out for a --dry_run",
        ),
        (["request", "--deployment=x", "ids.txt"], "unexpected argument 'ids.txt'"),
        (["status", "--deployment=x", "--config.data.name=digits"], "status has no"),
    ],
)
def test_one_line_for_every_mistake(call, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(*words)
    assert code == 1 and len(errors.splitlines()) == 1, errors
    assert message in errors


def test_the_settings_of_a_deployment_are_printed(call):
    words = "deploy", "--deployment=x", "--method=sisa", "--print_config"
    code, text, errors = call(*words, "--config.train.epochs=3")
    assert code == 0, errors
    assert "--config.train.epochs=3" in text and "--config.model.weights=" in text
    assert "--config.forget" not in text


def test_help_lists_the_commands_and_their_flags(call):
    code, text, _ = call("--help")
    assert code == 0
    for name, one in commands.COMMANDS.items():
        assert one.summary in text
        code, own, _ = call(name, "--help")
        assert code == 0 and f"launch.py {name}: " in own
        for flag in (*one.needed, *one.others):
            assert f"--{flag}" in own
            assert flag in commands.FLAGS or flag == "config.SETTING"


def test_advice_is_spelled_as_flags_of_a_command():
    said = commands.as_flags("by forget.column=file, or skip_unknown=True")
    assert said == "by --column=file, or --skip_unknown"
