"""A deployment: the folder of a model that is used, and that answers requests.

    deployment.json     settings: data, model, training, method and its constants
    examples.npz        ids, labels, split, group and content hash of every example
    secret.json         the key of all randomness and the salt of hashes; mode 0600
    states/NNNN         what the method needs for the next request, by version
    weights/NNNN.*      the weights of a version; 0000 as deployed
    requests/NNNN/      request.json, answer.json, files.json, report.json, report.html
    queue/NNNN.json     requests that wait to be answered together
    begun.json          what is being answered; the same command finishes it
    ledger.jsonl        see `ledger`

Numbers count requests, purges and exports alike; a version has the number of the
request that made it. Nothing is overwritten; a request counts with its line in the
ledger. States hold the key of the randomness: they stay where they are, and only
weights are given away.
"""

import dataclasses
import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import unlearn
from unlearn import devices, methods, provenance, store
from unlearn.errors import InputError
from unlearn.pipeline import split_chain
from unlearn.requests import ledger
from unlearn.requests.resolve import Examples, places, spelled
from unlearn.store.locks import PATIENCE, Lock, acquire

FORMAT = 1
SECURE = 128  # bits of the keys of randomness that certificates rest on
SETTINGS, EXAMPLES, SECRET = "deployment.json", "examples.npz", "secret.json"
BEGUN = "begun.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Deployment:
    """The folder of a deployment, with what never changes in it."""

    folder: Path
    settings: dict
    examples: Examples
    secret: bytes  # 32 of them

    def key(self, number: int) -> jax.Array:
        """Returns the key of a request's randomness; 0: of the training.

        It has 128 bits where a certificate rests on it, if the deployment was made so.
        """
        digest = hmac.new(self.secret, f"key {number}".encode(), hashlib.sha256)
        kind, size = ("rbg", 16) if self.certificate else ("threefry2x32", 8)
        bits = np.frombuffer(digest.digest()[:size], np.uint32)
        return jax.random.wrap_key_data(jnp.asarray(bits), impl=kind)

    @property
    def salt(self) -> bytes:
        return hmac.new(self.secret, b"salt", hashlib.sha256).digest()

    @property
    def seed(self) -> str:
        """Names the secret without telling it."""
        return hashlib.sha256(b"seed" + self.secret).hexdigest()[:16]

    @property
    def method(self) -> str:
        return self.settings["method"]

    @property
    def certificate(self) -> tuple[float, float] | None:
        """The epsilon and delta that an answer certifies, if it does."""
        constants = self.settings["methods"]
        if self.method == "certified":
            return constants["certified"]["epsilon"], constants["certified"]["delta"]
        if self.settings.get("key_bits") != SECURE:  # made before they had a secret
            return None
        return methods.certificate(split_chain(self.method), constants)

    def state(self, version: int) -> Path:
        return self.folder / "states" / f"{version:04d}"

    @property
    def slices(self) -> Path:
        return self.folder / "states" / "slices"

    def weights(self, version: int) -> Path:
        return self.folder / "weights" / f"{version:04d}.safetensors"

    def request(self, number: int) -> Path:
        return self.folder / "requests" / f"{number:04d}"

    def training(self, number: int) -> Path:
        return self.folder / "training" / f"{number:04d}"

    def lines(self) -> list[dict]:
        return ledger.read(self.folder)

    def erased(self, lines: list[dict]) -> dict[int, int]:
        """Returns the request that erased an example, by the example's index."""
        place = places(self.examples.ids)
        return {
            place[spelled(one)]: line["number"]
            for line in lines
            if line["kind"] == "request"
            for ids in line["erased"].values()
            for one in ids
        }

    def discard(self, number: int, count: int = 1) -> None:
        """Deletes what there is of numbers that no line of the ledger has yet.

        Something is left where a request was begun and its BEGUN deleted to drop it.
        """
        for one in range(number, number + count):
            store.delete(self.request(one), self.state(one))
            self.weights(one).unlink(missing_ok=True)
        store.delete(self.folder / "training")

    def path(self, file: Path) -> str:
        """Names a file of the deployment as its records do."""
        return file.relative_to(self.folder).as_posix()


def version_of(lines: list[dict]) -> int:
    """Returns the version that is in use."""
    return lines[-1]["version"]


def is_deployed(folder: Path | str) -> bool:
    """Says whether a deployment is there and its training or import was finished."""
    return bool(ledger.inspect(Path(folder)).lines)


def open_deployment(folder: Path | str) -> Deployment:
    """Reads a deployment that is there.

    Raises:
      InputError: there is none, it is not finished, or a file is damaged.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).exists():
        raise InputError(f"{folder} holds no deployment: make one with deploy")
    found = read(folder)
    if not found.lines():
        raise InputError(
            f"{folder} is not deployed yet: give the command that began it again"
        )
    check_files(found)
    return found


def read_record(path: Path) -> dict:
    """Reads a JSON object of a deployment.

    Raises:
      InputError: it is missing or damaged.
    """
    try:
        return store.read_json(path)
    except InputError as error:
        raise InputError(
            f"{path} is missing or damaged: restore it from a backup"
        ) from error


def read(folder: Path) -> Deployment:
    """Reads the files that never change.

    Raises:
      InputError: one is missing, damaged, or of another version of this package.
    """
    settings = read_record(folder / SETTINGS)
    if settings.get("format") != FORMAT:
        raise InputError(
            f"{folder} was made by another version of this package (format "
            f"{settings.get('format')}, not {FORMAT}): use that version"
        )
    try:
        secret = bytes.fromhex(store.read_json(folder / SECRET)["key"])
        examples = Examples(**store.load_arrays(folder / EXAMPLES))
        if len(secret) != 32:
            raise ValueError("the key is too short")
    except (InputError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}: {SECRET} or {EXAMPLES} is missing or damaged "
            f"({str(error).partition(':')[0]}): restore it from a backup"
        ) from error
    return Deployment(Path(folder).resolve(), settings, examples, secret)


def fixed_files(deployment: Deployment) -> dict[str, str]:
    """Returns the SHA-256 of the files that never change, by name."""
    names = SETTINGS, EXAMPLES, SECRET
    return {name: store.file_hash(deployment.folder / name) for name in names}


def check_files(deployment: Deployment) -> None:
    """Checks the files that never change against the first line of the ledger.

    Raises:
      InputError: one was changed.
    """
    recorded = deployment.lines()[0]["fixed"]
    for name, found in fixed_files(deployment).items():
        if recorded.get(name) != found:
            raise InputError(
                f"{deployment.folder / name} is not as it was deployed: restore it "
                "from a backup"
            )


def create(folder: Path, settings: dict, examples: Examples) -> Deployment:
    """Writes the files that never change, or reads them once training has begun.

    Raises:
      InputError: the folder holds something else, or a deployment with other settings
        or other data.
    """
    remedy = "use another folder"
    states = folder / "states"
    if not (
        any((folder / name).exists() for name in ("training", ledger.NAME))
        or (states.exists() and any(states.iterdir()))
    ):
        known = {SETTINGS, SECRET, EXAMPLES, "states", ".lock"}
        others = [path.name for path in folder.iterdir() if path.name not in known]
        if others:
            raise InputError(f"{folder} holds {min(others)}: {remedy}")
        if not (folder / SECRET).exists():
            store.write_secret(folder / SECRET, {"key": secrets.token_hex(32)})
        store.save_arrays(folder / EXAMPLES, examples._asdict())
        store.write_json(folder / SETTINGS, settings)
        states.mkdir(mode=0o700, exist_ok=True)  # they hold keys
    found = read(folder)
    check_settings(found, settings)
    for name, old, new in zip(Examples._fields, found.examples, examples, strict=True):
        if not np.array_equal(old, new):
            raise InputError(
                f"{folder} was begun with other data ({name} of examples differ): "
                f"{remedy}"
            )
    return found


def check_settings(found: Deployment, settings: dict) -> None:
    """Checks that settings are those of a deployment, as far as both have them.

    Raises:
      InputError: one differs.
    """
    old = {k: v for k, v in found.settings.items() if k in settings}
    new = json.loads(json.dumps(settings))
    for key, before, now in store.differences(
        old | {"created": ""}, new | {"created": ""}
    ):
        raise InputError(
            f"{found.folder} holds a deployment with other settings ({key}: {before} "
            f"there, {now} now): use another folder"
        )


def hold(folder: Path) -> Lock:
    """Locks the folder of a deployment for one piece of work.

    What killed writes left is removed, unless the training may go on in other processes
    (`shards`).

    Raises:
      InputError: another process or thread holds it, or the ledger is damaged.
    """
    try:
        held = take(folder)
    except OSError as error:
        raise store.cannot_write(folder, error) from error
    try:
        if is_deployed(folder):
            store.clean(folder)
            ledger.repair(folder)
    except BaseException:
        held.release()
        raise
    return held


def take(folder: Path) -> Lock:
    """Takes the lock of a folder, which nobody may hold, nor another thread.

    Who holds it for a moment, to add to the queue, is waited for.

    Raises:
      InputError: another process or thread holds it.
      OSError: the lock file cannot be written.
    """
    until = time.monotonic() + PATIENCE
    while True:
        held, is_new = acquire(folder, "wait for it")
        if is_new:
            return held
        del held  # the lock of another thread lives as long as anybody has it
        if time.monotonic() > until:
            raise InputError(
                f"another thread of this process is at work here ({folder}): wait "
                "for it"
            )
        time.sleep(0.01)


def now() -> str:
    """Returns the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def unchanged(lines: list[dict]) -> dict:
    """Returns what an entry that leaves the model as it is says of it."""
    last = lines[-1]
    both = {
        name: {"before": last[name]["after"], "after": last[name]["after"]}
        for name in ("state", "weights")
    }
    code = {"package": unlearn.__version__, "revision": provenance.revision()}
    return {"version": last["version"]} | both | code


def describe_code() -> dict:
    """Returns versions, device and revision of what runs."""
    found = devices.describe()
    kept = {key: found[key] for key in ("versions", "backend", "device")}
    return kept | {"revision": provenance.revision()}
