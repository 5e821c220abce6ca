"""Runs are found by the words of their questions and answers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_stats import without_figures

import moa
from helpers.command import configured
from helpers.command import moa as command
from helpers.upstream import Upstream
from moa import Message, Request, Scripted, Store

TEXTS = {
    "Why is the sky blue?": "Short waves scatter more, says Rayleigh.",
    "What is Photosynthesis?": "Plants make sugar of light; the leaves are green.",
    "Wie heißt die Straße?": "Crème brûlée ist keine Straße.",
    "天空为什么是蓝色的？": "因为散射。",
    'Is "C++" older than Rust?': "It is, by far: 1985 and 2015. The sky is the limit.",
}


async def run_with(store: Store, question: str, answer: str = "red") -> None:
    model = Scripted("a", answer)
    await moa.generate(model, Request((Message("user", "Hello."), Message("user", question))), store.emit)


async def filled(store: Store) -> None:
    for question, answer in TEXTS.items():
        await run_with(store, question, answer)


FOUND = [
    ("sky", ["older", "sky blue"]),
    ("SKY blue", ["sky blue"]),
    ("rayleigh", ["sky blue"]),
    ("photosyn", []),
    ("photosyn*", ["Photosynthesis"]),
    ("phot* leav* IS", ["Photosynthesis"]),
    ("*", []),
    ('"short waves"', ["sky blue"]),
    ('"waves short"', []),
    ("creme brulee", ["Straße"]),
    ("蓝色", ["天空"]),
    ("色蓝", []),
    ("散射", ["天空"]),
    ("c++", ["older"]),
    ("1985", ["older"]),
    ('sky AND NOT "', []),
    ("is*", ["older", "Straße", "Photosynthesis", "sky blue"]),
    ("question:sky", []),
    ("nowhere", []),
    ("Hello", []),  # a message before the question
    ("?!", []),
]


@pytest.mark.parametrize(("words", "found"), FOUND)
async def test_runs_are_found_by_what_a_person_would_type(tmp_path: Path, words: str, found: list[str]) -> None:
    with Store(tmp_path) as store:
        await filled(store)
        questions = [run.question or "" for run in store.runs(search=words)]
        assert len(questions) == len(found), questions
        assert all(part in question for part, question in zip(found, questions, strict=True))


async def test_a_search_goes_with_other_conditions_and_page_by_page(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for number in range(10):
            await run_with(store, f"Question {number}", "common words")
        await moa.generate(Scripted("b", "common"), Request((Message("user", "Other"),)), store.emit)
        sizes, questions, before = [], [], None
        while page := store.runs(search="common", model="a", limit=4, before=before):
            sizes.append(len(page))
            questions += [run.question for run in page]
            before = page[-1].id
        assert sizes == [4, 4, 2]
        assert questions == [f"Question {number}" for number in range(9, -1, -1)]


async def test_why_a_run_failed_is_found_too(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(moa.ModelError):
            await moa.generate(
                Scripted("a", moa.ModelError("a: rate limited")), Request((Message("user", "Which?"),)), store.emit
            )
        assert [run.state for run in store.runs(search="limited")] == ["failed"]


async def test_what_is_removed_is_not_found_nor_are_its_words_left_in_the_file(tmp_path: Path) -> None:
    with Store(tmp_path / "runs.sqlite") as store:
        await run_with(store, "Which colour is xylophonic?", "zirconium")
        await run_with(store, "Which other?")
        store.remove(store.runs(search="zirconium")[0].id)
        assert store.runs(search="zirconium") == [] == store.runs(search="xylophonic")
        store.purge()
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM search").fetchone() == (0,)
        terms = "CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, search, row)"
        db.execute(terms)
        assert db.execute("SELECT term FROM terms").fetchall() == []


async def test_words_that_are_not_kept_are_not_found(tmp_path: Path) -> None:
    with Store(tmp_path, text=False) as store:
        await filled(store)
        assert store.runs(search="sky") == []


async def test_a_run_that_goes_on_is_found_by_its_question(tmp_path: Path) -> None:
    model, request = Scripted("a", "red", delay=60), Request((Message("user", "Which colour?"),))
    with Store(tmp_path) as store:
        async with moa.stream(model, request, emit=store.emit) as events:
            await anext(events)
            assert [run.state for run in store.runs(search="colour")] == ["running"]
        assert [run.state for run in store.runs(search="colour")] == ["stopped"]


async def test_a_store_from_before_there_was_a_search_is_searched_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with Store(path) as store:
        await filled(store)
    with Store(path, text=False) as store:
        await run_with(store, "A blue secret?")
    without_figures(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE search")
        db.execute("PRAGMA user_version = 2")
    with Store(path) as store:
        assert [run.question for run in store.runs(search="rayleigh blue")] == ["Why is the sky blue?"]
        assert len(store.runs(search="sky")) == 2 and store.runs(search="secret") == []
        await run_with(store, "And the sea, is it blue?")
        assert len(store.runs(search="blue")) == 2
    assert (tmp_path / "runs.sqlite.version-2").exists()


def test_moa_runs_searches() -> None:
    with Upstream({"a": "red", "b": "scarlet", "big": "Rayleigh scattering"}) as upstream:
        configured(upstream)
        command("ask", "Why is the sky blue?")
        command("ask", "-m", "lab:a", "Why is grass green?")
    listed = command("runs", "--search", "sky rayl*", "--json").stdout
    assert [run["question"] for run in json.loads(listed)] == ["Why is the sky blue?"]
    assert command("runs", "--search", "nothing of it").stdout == ""
