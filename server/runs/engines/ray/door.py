"""Ray's functions that we use, with types, and with what they raise in our words. For the child process alone."""

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from secrets import token_hex
from typing import Any, NamedTuple, cast

from server.runs.engines.ray import tenant

NAMESPACE = "autoresearch"
SLOT = "slot"  # the resource of a node that one run takes, where it needs no GPU
_AT_ONCE = 4  # calls of one tenant: a look while data arrive


class Silent(Exception):
    """No answer came in time. It may come: nothing is known of what was asked."""


class Dead(Exception):
    """Ray is certain that the actor, or the node, that was asked is gone for ever."""


class Failed(Exception):
    """What was asked has raised this on the node."""


class Taken(Exception):
    """Another actor that lives has the run."""


class Unreachable(Exception):
    """No cluster answers, or it is not one for us: a clause that says why."""


class Node(NamedTuple):
    """A node, as the cluster tells of it."""

    id: str
    address: str
    host: str
    alive: bool
    resources: dict[str, float]


class Handle(NamedTuple):
    """Of an actor."""

    name: str  # of no other
    actor: Any
    made: float = 0.0  # monotonic seconds, of one that this process has made


Ref = Any  # of an answer


def connect(address: str) -> None:
    """Become a driver of the cluster. Raises Unreachable."""
    ray = _ray()
    import_module("ray.cloudpickle").register_pickle_by_value(tenant)
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            logging_level="error",
        )
    except Exception as error:  # whatever Ray raises, of several kinds of its own
        raise Unreachable(_why(error)) from error


def cluster_id() -> str:
    """Another where the cluster was started anew."""
    worker = import_module("ray._private.worker").global_worker
    return cast(str, worker.gcs_client.cluster_id.hex())


def nodes() -> list[Node]:
    """All that the cluster has had. Raises Silent."""
    try:
        told: list[dict[str, Any]] = _ray().nodes()
    except Exception as error:
        raise Silent from error
    return [
        Node(one["NodeID"], one["NodeManagerAddress"], one["NodeManagerHostname"], one["Alive"], one["Resources"])
        for one in told
    ]


def create(run: str, gpu: bool) -> Handle:
    """A tenant for a run, as soon as a node has a place for it. Raises Silent."""
    place: dict[str, Any] = {"num_gpus": 1} if gpu else {"resources": {SLOT: 1}}
    name = f"{run}-{token_hex(8)}"
    options = {
        "name": name,
        "lifetime": "detached",  # it outlives us
        "num_cpus": 0,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": _AT_ONCE,
        **place,
    }
    try:
        return Handle(name, _ray().remote(tenant.Tenant).options(**options).remote(run), time.monotonic())
    except Exception as error:
        raise Silent from error


def find(name: str) -> Handle | None:
    """The tenant of this name; None where the cluster has none that lives. Raises Silent."""
    try:
        return Handle(name, _ray().get_actor(name))
    except ValueError:
        return None
    except Exception as error:
        raise Silent from error


def claim(run: str, handle: Handle) -> None:
    """Say in the cluster that this tenant, which lives, has the run. Raises Taken: another one has it; Silent."""
    if _table("put", run, handle.name.encode(), False) and (other := holder(run)) != handle.name:
        if find(other):
            raise Taken
        _table("put", run, handle.name.encode(), True)


def holder(run: str) -> str:
    """The name of the tenant that has this run, as far as the cluster knows. Raises Silent."""
    found: bytes | None = _table("get", run)
    return found.decode() if found else run


def forget(run: str) -> None:
    """The run is over. Raises Silent."""
    _table("del", run)


def _table(does: str, *words: object) -> Any:
    """Put, get or delete in the table of strings that the cluster's head has; put returns whether the key was there."""
    table = import_module("ray.experimental.internal_kv")
    try:
        return getattr(table, f"_internal_kv_{does}")(*words, namespace=NAMESPACE)
    except Exception as error:
        raise Silent from error


def put(value: object) -> Ref:
    """Something that several calls send: it comes to each node once."""
    return _ray().put(value)


def ask(handle: Handle, method: str, *words: object) -> Ref:
    """Begin a call of a tenant's method."""
    return getattr(handle.actor, method).remote(*words)


def ask_node(node: str, function: Callable[..., Any], *words: object) -> Ref:
    """Begin a call of a function of `tenant` on this node, and on no other."""
    strategies = import_module("ray.util.scheduling_strategies")
    there = strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    made = _ray().remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    return made.remote(*words)


def answer(ref: Ref, seconds: float) -> Any:
    """What a call has returned. Raises Silent: it may be asked for again; Dead, Failed."""
    errors = import_module("ray.exceptions")
    try:
        return _ray().get(ref, timeout=seconds)
    except errors.GetTimeoutError as error:
        raise Silent from error
    except errors.ActorUnavailableError as error:
        raise Silent from error
    except errors.RayTaskError as error:
        raise Failed(_last_line(error)) from error
    except (errors.RayActorError, errors.TaskUnschedulableError, errors.WorkerCrashedError) as error:
        raise Dead(_last_line(error)) from error
    except errors.RayError as error:
        raise Silent from error


def lost(ref: Ref) -> bool:
    """Whether no answer of this call is to be waited for any more, though its actor may live: it is asked anew."""
    ready, _ = _ray().wait([ref], timeout=0)
    return bool(ready)


def end(handle: Handle) -> None:
    """End a tenant; its tether ends the run, if there is one."""
    _ray().kill(handle.actor, no_restart=True)


def _why(error: Exception) -> str:
    told, name = str(error), type(error).__name__
    if "Version mismatch" in told:
        words = [line.strip() for line in told.splitlines() if ":" in line and line.startswith("    ")]
        theirs, own = ", ".join(words[:2]), ", ".join(words[2:4])
        return f"the cluster has other versions ({theirs}) than this machine ({own})"
    if name == "AuthenticationError" or "token" in told.lower():
        return "the cluster asks for a token, and refuses this server's"
    if "Could not find any running Ray instance" in told:
        return "no cluster runs on this machine, and neither --ray-address nor RAY_ADDRESS names one"
    if isinstance(error, ConnectionError | TimeoutError | RuntimeError):
        return "no cluster answers at its address, or it refuses this server's token"
    return f"Ray says {name}: {_last_line(error)}"


def _last_line(error: BaseException) -> str:
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _ray() -> Any:
    return import_module("ray")
