"""The guards over a results folder: what of its figures is to be taken with care, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..results_folder import Folder
from ..sample import Sample, Scored
from ..scorers.pairwise import SWAPPED
from ..stats import validity as guards
from ..stats.validity import Flag


def flags(folder: Folder, tried: Mapping[str, Sequence[str]] | None = None) -> list[Flag]:
    """What the guards find, about the prompts first, then model by model. `tried` are mixtures with their members that
    were put together on the way, of which the manifest says nothing."""
    manifest = folder.manifest
    members: dict[str, Sequence[str]] = {**manifest.get("members", {}), **(tried or {})}
    prompts = [sample.question for sample in folder.samples.values()]
    found = guards.repeated(prompts)
    judge = [manifest["judge"], *members.get(manifest["judge"], ())] if manifest["judge"] else []
    for model in dict.fromkeys((*manifest["models"], *folder.figures)):
        scored = [one for one in folder.of(model) if one.answer.error is None]
        questions, answers = [one.sample.question for one in scored], [one.answer.text for one in scored]
        found += guards.constant(model, answers) or guards.alike(model, questions, answers)
        found += guards.refusals(model, answers)
        found += guards.length(model, answers, [_baseline(folder, one.sample, model) for one in scored])
        found += guards.self_preference(model, members.get(model, ()), judge)
        found += guards.unstable(model, _verdicts(scored))
        found += guards.contaminated(model, prompts, manifest.get("instructions", {}).get(model, ()))
    return found


def _baseline(folder: Folder, sample: Sample, model: str) -> str:
    """The answer that a model's own is compared with; nothing where it is compared with none."""
    if isinstance(sample.reference, Mapping) and isinstance(told := sample.reference.get("output"), str):
        return told
    first = folder.manifest["models"][0]
    headline = next(iter(folder.figures.get(first, ())), None)
    if model == first or headline is None or headline.note != "the baseline":
        return ""
    answer = folder.answers.get((sample.id, first))
    return answer.text if answer and answer.error is None else ""


def _verdicts(scored: Sequence[Scored]) -> list[tuple[str | None, str | None]]:
    """What a judge said of each answer in the one order and in the other, as if it had been the same."""
    told = [score.detail["verdicts"] for one in scored for score in one.scores if "verdicts" in score.detail]
    return [(first, SWAPPED.get(second)) for first, second in told]
