"""One slurmctld and some slurmd on this machine, without systemd: everything of theirs is in one folder.

A node that is odd lives in a mount namespace of its own, in which something is hidden or replaced: its jobs see that.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.polling import PATIENCE

_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
_BOUNDED = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "DPkg::Lock::Timeout=60")
_INSTALL_SECONDS = 600.0
_CONF = """ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2
ReturnToService=2
SlurmdTimeout=15
KillWait=5
MinJobAge=300
InactiveLimit=0
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=one Nodes=n1 MaxTime=INFINITE State=UP
PartitionName=short Nodes=n1,n2 MaxTime=2 State=UP
PartitionName=closed Nodes=n2 MaxTime=INFINITE State=DOWN
"""


NO_CLUSTER = 77  # the exit code where a machine cannot have one; what autotools call a skipped test


class NotHere(Exception):
    """This machine cannot have a cluster, and the words say why."""


def install() -> None:
    """Install Slurm's daemons, where they are missing. Raises NotHere."""
    if os.geteuid():
        raise NotHere("The cluster needs root: its daemons and mount namespaces do.")
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", *_PACKAGES)):
        try:
            done = subprocess.run(
                ["apt-get", *_BOUNDED, *words], env=quiet, capture_output=True, text=True, timeout=_INSTALL_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotHere(f"Slurm's packages cannot be installed: {error}") from error
        if done.returncode:
            told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NotHere(f"Slurm's packages cannot be installed: apt-get {words[0]}: {told[-1]}")


def slurm(*command: str) -> str:
    """What a command of Slurm's prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cluster:
    """Two nodes, n1 and n2, and as many odd ones as somebody asks for."""

    def __init__(self, folder: Path, odd: int = 0) -> None:
        self.folder, self.name = folder, f"ar{os.getpid()}"  # no part in another cluster of a test's
        self.odd = [f"o{place}" for place in range(1, odd + 1)]
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            port, first = one.getsockname()[1], two.getsockname()[1]
        first = first if first < 60000 else 20000
        host = socket.gethostname().partition(".")[0]
        named = "NodeName={} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs=1 RealMemory=2000"
        nodes = [named.format(name, host, first + place) for place, name in enumerate(["n1", "n2", *self.odd])]
        if self.odd:
            nodes.append(f"PartitionName=odd Nodes={','.join(self.odd)} MaxTime=INFINITE State=UP")
        for name in ("state", "log", "n1", "n2", *self.odd):
            (folder / name).mkdir(parents=True)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.conf = folder / "slurm.conf"
        text = _CONF.format(name=self.name, host=host, port=port, folder=folder, nodes="\n".join(nodes))
        self.conf.write_text(text, encoding="ascii")

    def __enter__(self) -> "Cluster":
        os.environ["SLURM_CONF"] = str(self.conf)
        at = self.folder
        files = [f"--{name}-file={at}/munge.{end}" for name, end in (("key", "key"), ("pid", "pid"), ("log", "log"))]
        # Beside the system's own, with a key of its own: other users of this machine have no part in the cluster.
        self._run("munged", "--force", f"--socket={at}/munge.socket", f"--seed-file={at}/munge.seed", *files)
        self.start_controller()
        for node in ("n1", "n2"):
            self.start_node(node)
        try:
            self.until_idle("n1", "n2")
        except AssertionError as error:
            self.__exit__()
            raise NotHere(f"the nodes take no jobs: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.jobs(), *self.daemons()]:
            with suppress(psutil.Error):
                process.kill()
        self._end("munge.pid")
        os.environ.pop("SLURM_CONF", None)

    def start_controller(self) -> None:
        self._run("slurmctld", "-f", str(self.conf))

    def start_node(self, node: str, before: str = "") -> None:
        """Start a node's slurmd; with `before`, in a mount namespace in which that shell command has run."""
        slurmd = f"slurmd -f {shlex.quote(str(self.conf))} -N {node}"
        self._run("unshare", "--mount", "sh", "-ec", f"{before}\n{slurmd}") if before else self._run(*slurmd.split())

    def until_idle(self, *nodes: str) -> None:
        """Wait until these nodes take jobs."""
        self.until(lambda: all(self.state(node) in ("idle", "mixed", "allocated") for node in nodes))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something of the cluster's."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.1)

    def state(self, node: str) -> str:
        """A node's; empty while the controller does not answer."""
        done = subprocess.run(["sinfo", "-h", "-n", node, "-o", "%T"], capture_output=True, text=True)
        return (done.stdout.split() or [""])[0]

    def told(self) -> str:
        """Nodes and jobs, for whoever reads why a test has failed."""
        shown = [
            subprocess.run(one, capture_output=True, text=True).stdout for one in (["sinfo", "-N"], ["squeue", "-a"])
        ]
        return "\n".join(shown)

    def heal(self) -> None:
        """Bring back what a fault has ended: daemons, nodes, no jobs."""
        if not self.daemons("slurmctld"):
            self.start_controller()
        for node in ("n1", "n2"):
            if not self.daemons(f"-N {node}"):
                self.start_node(node)
        self.until(lambda: self.state("n1") and self.state("n2"))
        subprocess.run(["scancel", "--user=root"], check=False)
        for node in ("n1", "n2"):
            if self.state(node).startswith(("down", "drain")):
                subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
        self.until_idle("n1", "n2")

    def daemons(self, words: str = "slurm") -> list[psutil.Process]:
        """This cluster's slurmctld and slurmd, by their command lines."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if str(self.conf) in line and words in line and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def step_daemons(self, node: str = "") -> list[psutil.Process]:
        """The slurmstepd of the jobs on one node, or of all."""
        parents = {job.ppid() for job in self.jobs(node) if job.is_running()}
        found = (psutil.Process(pid) for pid in parents if psutil.pid_exists(pid))
        return [process for process in found if "slurmstepd" in process.name()]

    def jobs(self, node: str = "") -> list[psutil.Process]:
        """Every process of a job on this cluster, or on one node of it."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                ours = environment.get("SLURM_CLUSTER_NAME") == self.name and "SLURM_JOB_ID" in environment
                if ours and (not node or environment.get("SLURMD_NODENAME") == node):
                    found.append(process)
        return found

    def kill_node(self, node: str) -> None:
        """As a power cut does it: the daemons and all processes on it at once."""
        self._kill(*self.daemons(f"-N {node}"), *self.step_daemons(node), *self.jobs(node))

    def kill_jobs(self, node: str) -> None:
        """Every process of a job on a node at once, and Slurm's own beside it."""
        self._kill(*self.step_daemons(node), *self.jobs(node))

    def _kill(self, *processes: psutil.Process) -> None:
        """Kill these, and what they have started, before one of them sees another's death and tells of it."""
        victims = {*processes}
        for process in processes:
            with suppress(psutil.Error):
                victims.update(process.children(recursive=True))
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in victims:
                with suppress(psutil.Error):
                    process.send_signal(number)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment())
        if done.returncode:
            raise NotHere(f"{command[0]} does not start: {(done.stderr or done.stdout).strip()[-300:]}")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        return {**kept, "SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def _end(self, pid_file: str) -> None:
        with suppress(OSError, ValueError, psutil.Error):
            psutil.Process(int((self.folder / pid_file).read_text(encoding="ascii"))).kill()
