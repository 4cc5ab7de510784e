"""A process that is killed before its n-th write, without a process."""

import contextlib
import os

import pytest

from unlearn.requests.deployment import hold


class Killed(BaseException):
    """What nothing catches."""


@contextlib.contextmanager
def killed_at(step):
    """Ends the block before its write number `step`, if it comes so far."""
    done, real = 0, {name: getattr(os, name) for name in ("replace", "rename", "fsync")}

    def counted(name):
        def call(*args, **options):
            nonlocal done
            done += 1
            if done == step:
                raise Killed
            return real[name](*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, counted(name))
        with contextlib.suppress(Killed):
            yield


def release(folder):
    """Lets a killed process' lock go, as the system does."""
    hold(folder).release()
