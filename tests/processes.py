"""Fits in processes of their own, to be killed or interrupted."""

import multiprocessing

from tests.unbroken import fit_and_answer

__all__ = ["start"]

# Torch is imported once and for all of them.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.unbroken"])


def start(path, answer, max_iter=60):
    """The fit in another process, once it has begun; and whether it goes on with an earlier one."""
    ours, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=fit_and_answer, args=(theirs, str(path), str(answer), max_iter))
    process.start()
    theirs.close()
    goes_on = ours.recv()
    ours.close()
    return process, goes_on
