"""What an operator can do something about, on the trainer's side: data that is missing, damaged or unusable."""


class DataUnavailable(Exception):
    """`problem` is one sentence about what is wrong, `next_step` one about what to do."""

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem} {next_step}")
        self.problem, self.next_step = problem, next_step
