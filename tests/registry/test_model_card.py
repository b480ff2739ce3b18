"""The model card's Markdown, page and pictures, with synthetic predictions on small real videos."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.tiny_versions import Tiny, answers
from markdown_it import MarkdownIt
from PIL import Image

from cac.errors import CacError
from cac.evaluation.intervals import evaluate_judgements
from cac.model.calibration import Calibration
from cac.registry.card.card_data import CardData, summarise_dataset
from cac.registry.card.card_files import MARKDOWN, PAGE, write_card
from cac.registry.card.model_card import MAX_DESCRIPTION, plain, summary
from cac.schema.annotations import write_clips
from cac.tracking.run_state import RunState
from cac.video.encode import encode

STATE = RunState("c" * 40, "false", "d" * 32 + ".dir", "p" * 64, "s" * 64, "e" * 64)
HOSTILE = "<script>alert(1)</script> | `x` *y* [z](javascript:1) ![w](http://example.org/a.png) & _a_"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset folder with the clips of twelve synthetic pairs, each a short ramp."""
    folder = tmp_path_factory.mktemp("card") / "data"
    (folder / "clips").mkdir(parents=True)
    clips = answers(Tiny(pairs=12)).clips
    write_clips(folder, clips)
    (folder / "dataset.json").write_text('{"licence": "CC0-1.0"}')
    ramp = np.linspace(0, 255, 16 * 96 * 96 * 3).astype(np.uint8).reshape(16, 96, 96, 3)
    for clip in clips:
        encode(folder / clip.path, ramp, fps=8)
    return folder


@pytest.fixture(scope="module")
def facts(params, dataset):
    few = params.model_copy(update={"evaluation": params.evaluation.model_copy(update={"bootstrap_samples": 50})})
    measured = answers(Tiny(pairs=12, missed=(0, 1, 2)))
    row = evaluate_judgements(measured.clips, measured.judgements, measured.scores, samples=50, seed=0)
    constant = {"balanced_accuracy": {"value": 0.5, "low": 0.5, "high": 0.5}}
    undefined = {"auroc": {"value": None, "low": None, "high": None}}
    metrics = {"two_turn_grpo": row, "majority": constant | undefined}
    calibration = Calibration(1.5, 0.2)
    return CardData(few, STATE, {"test": metrics}, "two_turn_grpo", calibration, measured, summarise_dataset(dataset))


@pytest.fixture(scope="module")
def card(facts, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "card"
    write_card(facts, dataset, folder)
    return folder


class Page(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_card_states_provenance_metrics_families_use_limitations_and_settings(card):
    text = (card / MARKDOWN).read_text()
    assert all(value in text for value in STATE.tags().values())
    assert "| two_turn_grpo | 0.875 [" in text
    assert "| majority | 0.500 [0.500, 0.500] | undefined |" in text
    assert re.search(r"\| structural distortion \| 4 \| 0\.250 \[", text)
    assert "| test | 24 | 12 | 12 | " in text
    assert "licence CC0-1.0. Clips: 2 s, 8 frames per second,\nsides of 96 pixels. Sources: invented (24 clips)" in text
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {
        "Intended use",
        "Out-of-scope use",
        "How to use",
        "Training data",
        "Calibration",
        "Examples",
        "Limitations",
        "Settings",
    } <= set(headings)
    assert "The family with the lowest recall is structural distortion: 0.250 [" in text
    assert '"two_turn_grpo": {' in text


def test_examples_are_hits_and_misses_with_their_pictures(card):
    text = (card / MARKDOWN).read_text()
    outcomes = re.findall(r"^### (found|missed|false alarm|rightly passed): ", text, re.MULTILINE)
    assert {"found", "missed", "rightly passed"} == set(outcomes)
    assert len(outcomes) == 8
    named = set(re.findall(r"\]\((images/[^)]+)\)", text))
    assert {f"images/example-{n}.png" for n in range(1, 9)} < named
    for name in named:
        with Image.open(card / name) as image:
            assert min(image.size) > 100
            assert len(set(image.convert("RGB").resize((50, 50)).get_flattened_data())) > 10, f"{name} is blank"


def test_the_page_embeds_its_pictures_and_links_to_nothing(card):
    page = Page((card / PAGE).read_text())
    sources = [image["src"] for image in page.all("img")]
    assert len(sources) == 3 + 8
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("source")) == 3, "a dark twin of each chart"
    assert not page.all("a")
    assert not page.all("script")
    assert not page.all("link")
    assert len(page.all("table")) == 5


def test_the_same_facts_give_the_same_bytes_and_no_path_of_this_machine(card, facts, dataset, tmp_path):
    write_card(facts, dataset, tmp_path / "again")
    files = {path.relative_to(card): path.read_bytes() for path in card.rglob("*") if path.is_file()}
    again = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.*")}
    assert files == again
    for name in (MARKDOWN, PAGE):
        text = files[card.joinpath(name).relative_to(card)].decode()
        assert str(dataset.parent) not in text
        assert str(card) not in text


def test_text_from_a_dataset_or_a_model_cannot_become_markup(facts, dataset, tmp_path):
    evil = replace(facts.data, sources={HOSTILE: 24}, licence="</style><img src=x onerror=alert(1)>")
    judgements = tuple(
        replace(one, look_text="```\n<b>bold</b>\r\x0c# head\n\u2028![p](q)") for one in facts.measured.judgements
    )
    measured = replace(facts.measured, judgements=judgements)
    write_card(replace(facts, data=evil, measured=measured), dataset, tmp_path / "card")
    text = (tmp_path / "card" / PAGE).read_text()
    page = Page(text)
    assert not page.all("script")
    assert not page.all("b")
    assert not page.all("a")
    assert len(page.all("h1")) == 1
    assert len(page.all("img")) == 3 + 8
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert "&lt;b&gt;bold&lt;/b&gt;" in text


def test_plain_escapes_all_markup():
    rendered = MarkdownIt("commonmark").render(f"# {plain(HOSTILE)}")
    assert rendered.count("<") == 2, "only the tags of the heading"


def test_the_summary_always_fits_mlflows_field(facts):
    long = {f"row{i}" * 20: facts.metrics["majority"] for i in range(100)}
    crowded = replace(facts, splits={"test": {**facts.metrics, **long}})
    assert len(summary(crowded)) <= MAX_DESCRIPTION
    assert "## Limitations" in summary(facts)
    assert "| specificity |" in summary(facts)


def test_an_existing_card_is_never_overwritten(card, facts, dataset):
    with pytest.raises(CacError, match="never overwritten"):
        write_card(facts, dataset, card)


def test_a_dataset_without_clips_or_with_a_broken_card_is_an_error(dataset, tmp_path):
    (tmp_path / "annotations.jsonl").write_text("")
    with pytest.raises(CacError, match="no clips"):
        summarise_dataset(tmp_path)
    write_clips(tmp_path, answers(Tiny(pairs=1)).clips)
    assert summarise_dataset(tmp_path).licence == "unknown"
    (tmp_path / "dataset.json").write_text("[")
    with pytest.raises(CacError, match=r"dataset\.json is not valid JSON"):
        summarise_dataset(tmp_path)
