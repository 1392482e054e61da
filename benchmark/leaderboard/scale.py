"""What a night of one GPU, of eight, and of eight machines brings, from what every row was measured to cost on one.

Only the seconds are measured. That further GPUs are as fast is extrapolated, and so is what follows from it: trainings
and rows are handed to whichever GPU is free, the one first on which the longest chain of others waits.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pandas import DataFrame

from benchmark.leaderboard.formats import MARKDOWN, pipe_table
from benchmark.records.costs import Costs

NIGHT = 12.0
"""Hours."""
GPUS = {1: "one GPU", 8: "one machine with 8 GPUs", 64: "8 machines with 8 GPUs each"}
BEGIN, END = "<!-- scale:begin -->", "<!-- scale:end -->"
"""The lines of a page between which :func:`rendered` writes."""


@dataclass(frozen=True)
class Job:
    """What one GPU does without a break."""

    title: str
    hours: float
    needs: tuple[int, ...] = ()  # positions of the jobs that must be done before


@dataclass(frozen=True)
class Plan:
    """The jobs of a table: every training once, then every row's fit and evaluation.

    Args:
        jobs: each after those that it needs.
    """

    jobs: tuple[Job, ...]

    @classmethod
    def of(cls, costs: Costs) -> Plan:
        """Of all rows, where trainings that rows share are done once; rows that lack a measurement are left out.

        A training of a row's own waits for the row's networks, which may be its teachers.
        """
        by_title = {one.title: one.hours for one in costs.trainings}
        jobs: list[Job] = []
        made: dict[tuple[str, int], int] = {}  # title and number of the copy, which ensembles have several of
        for method in costs.methods:
            hours = costs.hours(method)
            if hours["row"] is None:
                continue
            seen: dict[str, int] = {}
            networks: list[int] = []
            needed: list[int] = []
            for title in method.trainings:
                seen[title] = seen.get(title, 0) + 1
                own = title.startswith(f"{method.label} ")
                if (title, seen[title]) not in made:
                    made[title, seen[title]] = len(jobs)
                    jobs.append(Job(title, by_title[title] or 0.0, tuple(networks) if own else ()))
                needed.append(made[title, seen[title]])
                networks += [] if own else needed[-1:]
            jobs.append(Job(method.title, (hours["fit"] or 0.0) + (hours["evaluation"] or 0.0), tuple(needed)))
        return cls(tuple(jobs))

    def repeated(self, times: int) -> Plan:
        """So many seeds of it, which share nothing."""
        size = len(self.jobs)
        copies = (
            Job(job.title, job.hours, tuple(each + size * copy for each in job.needs))
            for copy in range(times)
            for job in self.jobs
        )
        return Plan(tuple(copies))

    @property
    def work(self) -> float:
        """Hours of all jobs together."""
        return sum(job.hours for job in self.jobs)

    @cached_property
    def _tails(self) -> list[float]:
        """Hours of the longest chain that begins with each job."""
        behind = [0.0] * len(self.jobs)
        tails = [0.0] * len(self.jobs)
        for index in reversed(range(len(self.jobs))):
            tails[index] = self.jobs[index].hours + behind[index]
            for each in self.jobs[index].needs:
                behind[each] = max(behind[each], tails[index])
        return tails

    @property
    def chain(self) -> list[str]:
        """Titles of the longest chain of jobs, each of which waits for the one before."""
        titles, left = [], range(len(self.jobs))
        while left:
            index = max(left, key=lambda each: self._tails[each])
            titles.append(self.jobs[index].title)
            left = [after for after, job in enumerate(self.jobs) if index in job.needs]
        return titles

    @property
    def shortest(self) -> float:
        """Hours of that chain, below which no number of GPUs comes."""
        return max(self._tails, default=0.0)

    def hours(self, gpus: int) -> float:
        """Hours until everything is done on so many GPUs."""
        waiting = [len(job.needs) for job in self.jobs]
        after: list[list[int]] = [[] for _ in self.jobs]
        for index, job in enumerate(self.jobs):
            for each in job.needs:
                after[each].append(index)
        ready = [(-self._tails[index], index) for index, count in enumerate(waiting) if not count]
        heapq.heapify(ready)
        running: list[tuple[float, int]] = []
        time = 0.0
        while ready or running:
            while ready and len(running) < gpus:
                index = heapq.heappop(ready)[1]
                heapq.heappush(running, (time + self.jobs[index].hours, index))
            time, done = heapq.heappop(running)
            for index in after[done]:
                waiting[index] -= 1
                if not waiting[index]:
                    heapq.heappush(ready, (-self._tails[index], index))
        return time

    def seeds(self, gpus: int, within: float = NIGHT) -> int:
        """How many seeds of it so many GPUs finish in some hours."""
        if not self.work:
            return 0
        # No more than the GPUs have hours for, and where all seeds are alike, more of them take no less time.
        fits = range(1, int(within * gpus / self.work * (1 + 1e-9)) + 1)
        return bisect_right(fits, within, key=lambda count: self.repeated(count).hours(gpus))

    def enough(self) -> int:
        """The least number of GPUs with which one seed takes no longer than its longest chain."""
        return next(n for n in range(1, len(self.jobs) + 2) if self.hours(n) <= self.shortest * (1 + 1e-9))


def markdown(costs: Costs) -> str:
    """The table of one machine, and in words where it stops."""
    plan = Plan.of(costs)
    if not plan.work:
        return MARKDOWN.escape(f"On {costs.machine} no row of {costs.title} was measured to its end.")
    lines = [
        {
            "Machine": words,
            "hours, one seed": f"{plan.hours(gpus):.1f}",
            "times faster": f"{plan.work / plan.hours(gpus):.1f}",
            "GPU at work": f"{plan.work / plan.hours(gpus) / gpus:.0%}",
            f"seeds in {NIGHT:.0f} h": str(plan.seeds(gpus)),
        }
        for gpus, words in GPUS.items()
    ]
    fastest = max((one.batch_size / one.seconds for one in costs.trainings if one.seconds), default=0.0)
    table = pipe_table(DataFrame(lines).map(MARKDOWN.escape))
    return "\n\n".join([_measured(costs, plan), table, _limits(plan, fastest)])


def _measured(costs: Costs, plan: Plan) -> str:
    rows = sorted(costs.methods, key=lambda method: (costs.hours(method)["row"] or 0.0, method.label))
    known = [method for method in rows if costs.hours(method)["row"] is not None]
    fits = [n for n in range(1, len(known) + 1) if (costs.together([m.label for m in known[:n]]) or 0.0) <= NIGHT]
    night = max(fits, default=0)
    text = (
        f"Measured on {costs.machine}: all {len(known)} rows of {costs.title}, one seed from nothing, take "
        f"{plan.work:.1f} h of one GPU."
    )
    if night < len(known):
        text += (
            f" In a night of {NIGHT:.0f} h it makes {night} of them, the cheapest first, in "
            f"{costs.together([m.label for m in known[:night]]):.1f} h; not "
            f"{', '.join(method.title for method in known[night:])}."
        )
    return MARKDOWN.escape(text)


def _limits(plan: Plan, fastest: float) -> str:
    chain = ", then ".join(plan.chain)
    return MARKDOWN.escape(
        f"Extrapolated: that every further GPU is as fast, with processor cores and a disk of its own to feed it. One "
        f"seed stops getting faster at {plan.enough()} GPUs: its longest chain ({chain}) takes {plan.shortest:.1f} h, "
        f"and a training or a row is one job of one GPU here. More GPUs than that are worth something for more seeds "
        f"only. The fastest training takes {fastest:.0f} images/s, so that a machine with 8 GPUs has to read, decode "
        f"and augment up to {8 * fastest:.0f}; `bench pipeline` says what one reads."
    ).replace(MARKDOWN.escape("`bench pipeline`"), "`bench pipeline`")


def rendered(text: str, records: Sequence[Costs]) -> str:
    """A page with what stands between its two lines made anew; one without them stays as it is."""
    if BEGIN not in text or END not in text:
        return text
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    return "\n\n".join([before, *map(markdown, (costs for costs in records if not costs.reduced)), after])
