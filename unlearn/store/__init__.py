"""The run folder: its lock, configuration, checkpoints, evaluations, records and log.

Every file and folder appears whole or not at all, and nothing is overwritten in place:
it is written beside its final name, under a name that no other writer uses, and then
renamed. One process at a time owns a run folder (`claim`); what a killed write leaves
is removed by the next owner. Checkpoints and records carry checksums; damage is an
`InputError` that says what to delete.
"""

from unlearn.store.checkpoints import (
    checkpoint_hash,
    copy_checkpoint,
    delete,
    epoch_checkpoints,
    load_checkpoint,
    save_checkpoint,
    tree_hash,
    verify_checkpoint,
)
from unlearn.store.files import (
    ANEW,
    array_hash,
    cannot_write,
    clean,
    file_hash,
    is_kept,
    load_arrays,
    load_kept,
    load_record,
    read_json,
    save_arrays,
    save_kept,
    save_record,
    write_bytes,
    write_json,
    write_secret,
    write_text,
)
from unlearn.store.folder import (
    ROWS,
    check_claim,
    claim,
    differences,
    join,
    leave,
    lock,
    refuse_if_locked,
)
from unlearn.store.locks import Lock, try_lock
from unlearn.store.log import Log
from unlearn.store.tensors import load_tensors, save_tensors, tensors_hash

__all__ = [
    "ANEW",
    "Lock",
    "Log",
    "ROWS",
    "array_hash",
    "cannot_write",
    "check_claim",
    "checkpoint_hash",
    "claim",
    "clean",
    "copy_checkpoint",
    "delete",
    "differences",
    "epoch_checkpoints",
    "file_hash",
    "is_kept",
    "join",
    "leave",
    "load_arrays",
    "load_checkpoint",
    "load_kept",
    "load_record",
    "load_tensors",
    "lock",
    "read_json",
    "refuse_if_locked",
    "save_arrays",
    "save_checkpoint",
    "save_kept",
    "save_record",
    "save_tensors",
    "tensors_hash",
    "tree_hash",
    "try_lock",
    "verify_checkpoint",
    "write_bytes",
    "write_json",
    "write_secret",
    "write_text",
]
