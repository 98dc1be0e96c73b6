"""How long a run can take at the worst, for engines that end a job by the clock.

It is no limit of ours: the supervisor ends a run at its own. An engine's must come later, and engines are coarse: one
of 60 s was found to end a job after 85.
"""

from trainer.contract import CPU_PROFILES, Spec

SLACK_SECONDS = 180.0
_REHEARSAL_SECONDS = 90.0
_TO_BEGIN_AND_END_SECONDS = 120.0  # data are made and read, processes ended, folders removed
# Of a budget of CPU seconds, as in trainer.run.profiles.
WALL_SHARE = 3.0
LEAST_WALL_SECONDS = 60.0


def worst_seconds(spec: Spec) -> float:
    """Wall seconds of the longest run that this spec allows."""
    beside = spec.grace_seconds + 2 * (spec.setup_seconds + spec.evaluation_seconds)
    if spec.task:
        beside += 2 * (spec.task.build_seconds + spec.task.checks_seconds)
    counted = spec.profile in CPU_PROFILES and not spec.task
    training = max(WALL_SHARE * spec.budget_seconds, LEAST_WALL_SECONDS) if counted else 1.1 * spec.budget_seconds
    return training + beside + _REHEARSAL_SECONDS + _TO_BEGIN_AND_END_SECONDS


def limit_minutes(spec: Spec) -> int:
    """Whole minutes after which an engine may end the job."""
    return int(-(-(worst_seconds(spec) + SLACK_SECONDS) // 60))
