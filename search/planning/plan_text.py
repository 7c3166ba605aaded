"""The plan of a search or of a resume as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from results.wording import counted
from search.layouts.report import SpaceReport
from search.layouts.report_text import print_report
from search.planning.disk import DiskForecast
from search.text import flops_text


def print_plan(plan: dict[str, Any], console: Console) -> None:
    """Prints the plan that `make_plan` returns."""
    print_report(SpaceReport.from_dict(plan["space"]), console)
    rungs = ", ".join(map(str, plan["rungs"]))
    fixed = ", ".join(f"{name} {value}" for name, value in plan["fixed"])
    console.print(
        f"\nfixed in the recipe: {fixed or 'nothing'}; fields not shown have their defaults",
        highlight=False,
        soft_wrap=True,
        end="",
    )
    for name, values in plan["searched"]:
        console.print(f"\nrecipe.{name}: {values}", highlight=False, soft_wrap=True, end="")
    console.print()
    if plan["searched"]:
        count = "infinitely many recipes" if plan["recipes"] is None else counted(plan["recipes"], "recipe")
        console.print(f"{count} per layout", highlight=False, soft_wrap=True)
    if plan["replicates"] > 1:
        splits = f" and {plan['validation_splits']} validation splits" if plan["validation_splits"] > 1 else ""
        console.print(
            f"\neach trained up to {plan['replicates']} times, with different seeds{splits}",
            highlight=False,
            soft_wrap=True,
        )
    for sentence in plan["warm_start"]:
        console.print(f"\n{sentence}", highlight=False, soft_wrap=True, end="")
    for sentence in plan["notes"]:
        console.print(f"\n{sentence}", highlight=False, soft_wrap=True, end="")
    budgets = "".join(f"{sentence}\n" for sentence in plan["budgets"])
    fewer = plan["trials"] < plan["asked_trials"]
    every = f" (the space has no more; {plan['asked_trials']:,} requested)" if fewer else ""
    console.print(
        f"\n{counted(plan['trials'], 'trial')}{every} on {plan['dataset']}, sampler {plan['sampler']}, "
        f"rungs at {rungs} epochs\n"
        f"{epochs_text(plan)} in total, {plan['most_epochs']:,} if no trial is stopped\n"
        f"{_confirmation(plan)}"
        f"{budgets}"
        f"about {flops_text(plan['training_flops'])} of training and validation, "
        f"{flops_text(plan['flops_per_epoch'])} per epoch of the mean layout\n"
        f"{hours_text(plan)}\n"
        f"at most {DiskForecast.of(plan['disk'])} in the run's folder\n"
        "Nothing was launched.",
        highlight=False,
        soft_wrap=True,
    )


def print_resume_plan(plan: dict[str, Any], console: Console) -> None:
    """Prints the plan that `make_resume_plan` returns."""
    left = max(0, plan["trials"] - plan["ended_trials"])
    partly = plan["suggested_trials"] - plan["ended_trials"]
    before, now = plan["changes"].get("max_epochs", (0, 0))
    budget = plan["epoch_budget"]
    spent = (
        f"the epoch budget of {budget:,} is spent: nothing would run\n" if budget and plan["epochs"] >= budget else ""
    )
    leaving = (
        f"{counted(plan['leaving_trials'], 'trial')} outside the new parameter limits would lose rank and checkpoint\n"
    )
    epochs = plan["expected_epochs"]
    cost = f"{epochs_text(plan)} left; {hours_text(plan)}\n{_confirmation(plan)}" if epochs else ""
    again = (
        f"completed trials also continue to {now:,} epochs if ASHA promotes them from their last rung\n"
        if now > before
        else ""
    )
    console.print(
        f"run {plan['run']}: {plan['change'] or 'nothing changes'}\n"
        f"{plan['ended_trials']:,} of {plan['trials']:,} trials have ended, {plan['epochs']:,} epochs in total; "
        f"{left:,} left, {partly:,} of them partly trained\n"
        f"{cost}{again}{spent}{leaving if plan['leaving_trials'] else ''}Nothing was launched.",
        highlight=False,
        soft_wrap=True,
    )


def _confirmation(plan: dict[str, Any]) -> str:
    """A line on the trials that are trained to the end after the search; empty for none."""
    if not plan["confirmed_trials"]:
        return ""
    count = counted(plan["confirmed_trials"], "trial")
    return f"of these, at most {plan['confirmation_epochs']:,} to train {count} to the end that ASHA stopped early\n"


def epochs_text(plan: dict[str, Any]) -> str:
    """How many epochs a plan takes: the most likely number, and the range in which eight of ten searches are."""
    low, high = plan["epochs_range"]
    between = f" ({low:,.0f} to {high:,.0f} in eight of ten searches)" if f"{low:,.0f}" != f"{high:,.0f}" else ""
    return f"about {plan['expected_epochs']:,.0f} epochs{between}"


def hours_text(plan: dict[str, Any]) -> str:
    """How long a plan takes, the range in which eight of ten searches are, and what the estimate is based on."""
    if plan["hours"] is None:
        return f"no time estimate: {plan['hours_why']}"
    hours = plan["hours"]
    many, unit = next(
        (many, name)
        for many, name in ((1, "hours"), (60, "minutes"), (3600, "seconds"))
        if hours * many >= 1 or many == 3600
    )
    low, high = (f"{end * many:.2g}" for end in plan["hours_range"])
    between = f" ({low} to {high})" if low != high else ""
    return f"about {hours * many:.2g} {unit}{between} on this machine with the start of Ray, {plan['hours_why']}"
