"""Where evaluations run: a Dask cluster of this machine, or one that is already there."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import Client, Future, LocalCluster

from predfuse.errors import InputError, PredfuseError
from predfuse.explore.evaluation import Outcome, Subject, model_version
from predfuse.hardware.spec import AcceleratorSpec

CONNECT_SECONDS = 10
RETRIES = 2
"""How often an evaluation that raised is tried again; of lost workers Dask's own ``allowed-failures`` decides."""
HELD_NETWORKS = 8
"""Networks kept on the cluster at once."""

Evaluate = Callable[[AcceleratorSpec, Subject], Outcome]


def _unpacked(packed: bytes) -> Subject:
    subject = pickle.loads(zlib.decompress(packed))  # what this program packed itself, over Dask's own connection
    assert isinstance(subject, Subject)
    return subject


def _evaluated(evaluate: Evaluate, spec: AcceleratorSpec, subject: Subject, version: str) -> Outcome:
    if model_version() != version:
        raise PredfuseError(f"this worker has version {model_version()}, the search {version}; install the same")
    return replace(evaluate(spec, subject), source=subject.source)


@dataclass
class Workers:
    """A connected cluster.

    Attributes:
        client: Of Dask.
        evaluate: What is run for every point.
    """

    client: Client
    evaluate: Evaluate
    _held: OrderedDict[str, Future[Subject]] = field(default_factory=OrderedDict)

    @property
    def dashboard(self) -> str:
        """Address of the dashboard."""
        return str(self.client.dashboard_link)

    @property
    def window(self) -> int:
        """Evaluations to have under way, so that no worker waits for the driver."""
        threads: int = sum(self.client.nthreads().values())
        return 2 * max(1, threads) + 2

    def submit(self, key: str, spec: AcceleratorSpec, subject: Subject) -> Future[Outcome]:
        """Begin an evaluation; ``key`` is that of its content."""
        held = self._held.pop(subject.digest, None)
        if held is None:
            # The network is part of the graph: a lost worker's copy is unpacked again elsewhere.
            packed = zlib.compress(pickle.dumps(subject), 1)
            held = self.client.submit(_unpacked, packed, key=f"network-{subject.digest}")
        self._held[subject.digest] = held
        while len(self._held) > HELD_NETWORKS:
            self._held.popitem(last=False)
        return self.client.submit(
            _evaluated, self.evaluate, spec, held, model_version(), key=f"evaluate-{key}", retries=RETRIES
        )


@contextlib.contextmanager
def connected(workers: int, scheduler: str | None = None) -> Iterator[Client]:
    """A cluster for the time of a search or an ablation.

    Args:
        workers: Processes to start on this machine.
        scheduler: Address of a running scheduler, in place of processes of our own.

    Raises:
        InputError: The scheduler is not reachable, has no worker, or its workers have another version.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler is None:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            address = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                )
            )
        try:
            client = stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"scheduler {scheduler}", "is not reachable", "start it with dask scheduler") from error
        if scheduler is not None:
            versions = client.run(model_version)
            if not versions:
                raise InputError(f"scheduler {scheduler}", "has no worker", "start some with dask worker")
            for worker, version in versions.items():
                if version != model_version():
                    what = f"has version {version}, this is {model_version()}"
                    raise InputError(f"worker {worker}", what, "install the same version on both")
        yield client
