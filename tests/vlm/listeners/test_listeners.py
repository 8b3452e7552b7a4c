"""Listeners: the free one equals the paid one, each hears what it should, and the controls carry no information."""

import dataclasses

import pytest
import torch
from scipy import stats

from lit_listener.tasks import AbsoluteRating, PairwisePreference
from lit_listener.vlm.listeners import (
    Heard,
    Listener,
    ModelListener,
    NoListener,
    RandomListener,
    ReferenceListener,
    ShuffledListener,
)
from lit_listener.vlm.passes import cut_passes
from tests.vlm.tiny import TASK, hearing, letters_tokenizer, mixed, plain_inputs, shown, write_tiny

RETELLING = PairwisePreference("Listen: {prompt}\n{image_0}{image_1}\nWhich?", system=None)
UNREADABLE = "<think>red</think>"
TEXTS = (
    "<think>The second is better.</think><answer>1</answer>",
    "<think></think><answer>0</answer>",
    UNREADABLE,
    "<think>The first image is red.</think><answer> 1</answer>",
    "<think>Sharp edges…</think><answer>7</answer>",
    "no thoughts at all <answer>0</answer>",
)


@pytest.fixture(scope="module")
def heard_texts(backbone, reader, label_ids):
    """Three prompts with two completions each."""
    return hearing(backbone, reader, mixed(3), TEXTS, label_ids)


@pytest.fixture(scope="module")
def letters_folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("letters") / "model", seed=2, tokenizer=letters_tokenizer())


def prepared(folder, reader, context):
    listener = ModelListener(str(folder), context)
    listener.prepare(TASK, reader.tokenizer)
    return listener


def forwards(backbone):
    """The shapes [rows, tokens] that the language model reads from here on."""
    shapes = []
    backbone.language_model.register_forward_hook(
        lambda _, __, kwargs, ___: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    return shapes


def plain_p_label(backbone, reader, pair, trace_ids, task=TASK):
    """The labels' probabilities after a trace, by the plain path and the definition."""
    logits = backbone.model(**plain_inputs(reader, pair, trace_ids, task)).logits[0, -1].double()
    spellings = [[reader.tokenizer.encode(text) for text in (label, f" {label}")] for label in TASK.labels]
    masses = torch.stack([sum(logits.softmax(0)[ids[0]] for ids in each if len(ids) == 1) for each in spellings])
    return (masses / masses.sum()).float(), 1 - float(masses.sum())


def test_the_reference_is_read_where_the_answer_stands(heard_texts, backbone, reader):
    heard = ReferenceListener().hear(heard_texts)
    assert heard.readable_N.tolist() == [True, True, False, True, True, True]
    with torch.no_grad():
        for n in heard.readable_N.nonzero().flatten().tolist():
            pair = heard_texts.shown[n // 2]
            p_label, discarded = plain_p_label(backbone, reader, pair, heard_texts.trace_ids[n])
            torch.testing.assert_close(heard.p_label_NL[n], p_label, atol=1e-5, rtol=0)
            assert float(heard.discarded_mass_N[n]) == pytest.approx(discarded, abs=1e-5)


def test_the_reference_listener_equals_a_model_listener_and_costs_no_forward(heard_texts, tiny_folder, reader):
    listener = prepared(tiny_folder, reader, "reasoner")
    shapes = forwards(listener.backbone)
    read = ReferenceListener().hear(heard_texts)
    assert shapes == []
    asked = listener.hear(heard_texts)
    assert len(shapes) == 1
    readable = read.readable_N
    assert torch.equal(asked.readable_N, readable)
    labels = torch.tensor([pair.label for pair in heard_texts.shown]).repeat_interleave(2)
    torch.testing.assert_close(
        asked.p_correct_N(labels)[readable], read.p_correct_N(labels)[readable], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(asked.discarded_mass_N[readable], read.discarded_mass_N[readable], atol=1e-5, rtol=0)


def test_reading_costs_the_reference_no_forward(heard_texts, backbone, monkeypatch):
    calls = []
    monkeypatch.setattr(type(backbone), "score", lambda *_, **__: calls.append("score"))
    for listener in (ReferenceListener(), ShuffledListener(), RandomListener()):
        listener.hear(heard_texts)
    assert not calls


@pytest.mark.parametrize("context", ["reasoner", "own"])
@pytest.mark.parametrize("same_tokens", [True, False])
def test_a_model_listener_equals_the_plain_path(heard_texts, tiny_folder, letters_folder, reader, context, same_tokens):
    listener = prepared(tiny_folder if same_tokens else letters_folder, reader, context)
    heard = listener.hear(heard_texts)
    with torch.no_grad():
        for n in heard.readable_N.nonzero().flatten().tolist():
            transcript = heard_texts.transcripts[n]
            text = b"".join(reader.token_bytes(heard_texts.trace_ids[n])).decode()
            told = f"{(transcript.think or '').strip()} So: <answer>"
            ids = listener.reader.tokenizer.encode(text if context == "reasoner" else told)
            task = TASK if context == "reasoner" else RETELLING
            p_label, _ = plain_p_label(listener.backbone, listener.reader, heard_texts.shown[n // 2], ids, task)
            torch.testing.assert_close(heard.p_label_NL[n], p_label, atol=1e-5, rtol=0)


@pytest.mark.parametrize("context", ["reasoner", "own"])
def test_a_model_listener_reads_a_prompt_once_for_its_group(backbone, tiny_folder, reader, label_ids, context):
    pairs = [shown(0, words=5)]
    given = hearing(backbone, reader, pairs, TEXTS, label_ids)
    listener = prepared(tiny_folder, reader, context)
    shapes = forwards(listener.backbone)
    listener.hear(given)
    question = TASK.encode(pairs[0]) if context == "reasoner" else TASK.retell_question(pairs[0])
    prompt = reader.encoder.encode([question]).input_ids_PS.shape[1]
    told = [
        reader.encoder.encode_text(TASK.retell_continuation(transcript.think or "")) for transcript in given.transcripts
    ]
    traces = given.trace_ids if context == "reasoner" else told
    # one row: the prompt, every readable trace, and a place for each completion's label
    tokens = sum(len(trace) for n, trace in enumerate(traces) if TEXTS[n] != UNREADABLE) + len(TEXTS)
    assert shapes == [(1, prompt + tokens)]


@pytest.mark.parametrize("context", ["reasoner", "own"])
def test_the_cut_into_passes_changes_nothing_that_is_heard(heard_texts, tiny_folder, reader, context):
    listener = prepared(tiny_folder, reader, context)
    shapes = forwards(listener.backbone)
    encoded = []
    listener.backbone.vision_tower.register_forward_hook(lambda *_: encoded.append(1))
    whole = listener.hear(heard_texts)
    rows, tokens = shapes[0]
    assert rows == 3
    for most, fewest in ((2 * tokens, 2), (tokens - 6, 4)):  # whole groups; then one at least is cut
        shapes.clear()

        def in_passes(work, prompts, completions, most=most):
            return work(cut_passes(prompts, completions, most))

        heard = listener.hear(dataclasses.replace(heard_texts, in_passes=in_passes))
        assert len(shapes) >= fewest
        assert all(count * length <= most for count, length in shapes)
        readable = whole.readable_N
        assert torch.equal(heard.readable_N, readable)
        torch.testing.assert_close(heard.p_label_NL[readable], whole.p_label_NL[readable], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            heard.discarded_mass_N[readable], whole.discarded_mass_N[readable], atol=1e-5, rtol=0
        )
    assert len(encoded) == 3  # once each time


def test_a_listener_never_hears_the_answer(backbone, tiny_folder, letters_folder, reader, label_ids):
    texts = ["<think>red</think><answer>0</answer>", "<think>red</think><answer>1</answer>"]
    given = hearing(backbone, reader, mixed(1), texts, label_ids)
    listeners = [ReferenceListener()] + [
        prepared(folder, reader, context) for folder in (tiny_folder, letters_folder) for context in ("reasoner", "own")
    ]
    for listener in listeners:
        p_label = listener.hear(given).p_label_NL
        torch.testing.assert_close(p_label[0], p_label[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("context", ["reasoner", "own"])
def test_control_tokens_spelled_out_in_a_trace_are_text(
    backbone, tiny_folder, letters_folder, reader, label_ids, context
):
    # a policy may write them letter by letter; as control tokens they would end the reply or ask for an image
    text = "<think>see <|image_pad|> and <|im_end|></think><answer>1</answer>"
    given = hearing(backbone, reader, mixed(1), [TEXTS[0]], label_ids)
    ids = reader.encoder.encode_text(text, special=False)
    transcript = TASK.parse(reader.token_bytes(ids), truncated=False)
    trace = ids[: transcript.answer_token]
    given = dataclasses.replace(
        given, transcripts=[transcript], trace_ids=[trace], trace_bytes=[b"".join(reader.token_bytes(trace))]
    )
    for folder in (tiny_folder, letters_folder):
        heard = prepared(folder, reader, context).hear(given)
        assert heard.readable_N.all()


def test_nothing_readable_is_heard_as_nothing(backbone, tiny_folder, reader, label_ids):
    given = hearing(backbone, reader, mixed(2), [UNREADABLE] * 4, label_ids)
    listeners = [
        ReferenceListener(),
        RandomListener(),
        ShuffledListener(),
        *(prepared(tiny_folder, reader, context) for context in ("reasoner", "own")),
    ]
    for listener in listeners:
        assert listener.hear(given).readable_N.tolist() == [False] * 4


def test_a_model_listener_is_frozen(heard_texts, tiny_folder, reader):
    listener = prepared(tiny_folder, reader, "own").train()
    heard = listener.hear(heard_texts)
    assert not any(parameter.requires_grad for parameter in listener.parameters())
    assert not heard.p_label_NL.requires_grad


def test_labels_that_the_listener_has_no_token_for_are_refused(tiny_folder, reader):
    class Words(PairwisePreference):
        labels = ("0", "sesquipedalian")

    with pytest.raises(ValueError, match=r"the tokenizer of '.*model' lacks the answer label 'sesquipedalian'"):
        ModelListener(str(tiny_folder)).prepare(Words(), reader.tokenizer)


@pytest.fixture
def of_keys(heard_texts):
    """A random listener's word on pairs of given keys."""
    transcript = TASK.parse([b"<answer>", b"1", b"</answer>"], truncated=False)

    def hear(keys, size, seed=0):
        transcripts = [transcript] * size * len(keys)
        given = dataclasses.replace(
            heard_texts,
            shown=[shown()] * len(keys),
            keys=keys,
            labels=[shown().label] * len(keys),
            transcripts=transcripts,
        )
        return RandomListener(seed).hear(given)

    return hear


def test_the_random_listener_is_uniform_and_its_own(of_keys):
    keys = [(0, index) for index in range(1_000)]
    heard = of_keys(keys, size=4)
    second = heard.p_label_NL[:, 1]
    assert stats.kstest(second.numpy(), "uniform").pvalue > 0.01
    torch.testing.assert_close(heard.p_label_NL.sum(1), torch.ones(4_000))
    assert heard.readable_N.all()
    assert torch.equal(of_keys(keys, size=4).p_label_NL, heard.p_label_NL)  # reproducible
    assert torch.equal(of_keys(keys[7:9], size=2).p_label_NL, heard.p_label_NL[[28, 29, 32, 33]])  # whatever the batch
    assert not torch.equal(of_keys(keys, size=4, seed=1).p_label_NL, heard.p_label_NL)
    assert not torch.equal(of_keys([(1, index) for index in range(1_000)], size=4).p_label_NL, heard.p_label_NL)


def test_the_random_listener_has_a_word_on_every_label(heard_texts):
    listener = RandomListener()
    listener.prepare(AbsoluteRating(ratings=4), None)
    given = dataclasses.replace(heard_texts, shown=[shown()] * 900, keys=[(0, index) for index in range(900)],
                                labels=[0] * 900, transcripts=list(heard_texts.transcripts[:2]) * 900)  # fmt: skip
    p_label_NL = listener.hear(given).p_label_NL
    assert p_label_NL.shape == (1800, 4)
    torch.testing.assert_close(p_label_NL.sum(1), torch.ones(1800))
    for p_N in p_label_NL.T:  # of four numbers that sum to 1, all as likely, each is distributed as 1 - (1 - p)^3
        assert stats.kstest(p_N.numpy(), stats.beta(1, 3).cdf).pvalue > 0.001


def test_nobody_is_silent_on_every_label(heard_texts):
    listener = NoListener()
    listener.prepare(AbsoluteRating(ratings=4), None)
    heard = listener.hear(heard_texts)  # whose completions were written down, and have two labels
    assert heard.p_label_NL.tolist() == [[0.25] * 4] * 6
    assert not heard.readable_N.any()


def shuffled(heard_texts, readable, size, seed=0):
    """What the shuffled listener makes of p(correct) = 0.001, 0.002, … and of which completion it took it."""
    count, pairs = len(readable), [shown(index) for index in range(len(readable) // size)]
    labels = torch.tensor([pair.label for pair in pairs]).repeat_interleave(size)
    p_correct = torch.arange(1, count + 1) / 1000
    p_label = torch.where(labels == 1, p_correct, 1 - p_correct)
    logits = torch.stack([1 - p_label, p_label], 1).log()
    texts = {True: [b"<answer>", b"1", b"</answer>"], False: [b"red"]}
    given = dataclasses.replace(
        heard_texts,
        shown=pairs,
        keys=[(0, index) for index in range(len(pairs))],
        labels=[pair.label for pair in pairs],
        transcripts=[TASK.parse(texts[each], truncated=False) for each in readable],
        reference=dataclasses.replace(
            heard_texts.reference, label_logits_NL=logits, discarded_mass_N=torch.zeros(count)
        ),
    )
    heard = ShuffledListener(seed).hear(given)
    return heard, (heard.p_correct_N(labels) * 1000).round().long() - 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "readable",
    [
        [True] * 6,
        [True] * 12,
        [True, True, False, True, False, False, True, True, True],
        [True, True, True, False, True, False, False, True, True],
    ],
)
def test_the_shuffled_listener_gives_every_score_to_another_prompt(heard_texts, readable, seed):
    heard, sources = shuffled(heard_texts, readable, size=3, seed=seed)
    assert heard.readable_N.tolist() == readable
    places = [n for n, each in enumerate(readable) if each]
    assert sorted(sources[places].tolist()) == places  # the same scores, each once
    assert all(int(sources[n]) // 3 != n // 3 for n in places)
    torch.testing.assert_close(heard.p_label_NL.sum(1), torch.ones(len(readable)))


def test_the_shuffle_is_seeded_and_reproducible(heard_texts):
    drawn = [tuple(shuffled(heard_texts, [True] * 24, size=2, seed=seed)[1].tolist()) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("seed", range(4))
def test_a_prompt_with_most_readable_completions_shares_the_others_scores(heard_texts, seed):
    readable = [True, True, True, True, False, False]
    heard, sources = shuffled(heard_texts, readable, size=3, seed=seed)
    assert heard.readable_N.tolist() == readable
    assert sources[:3].tolist() == [3, 3, 3]
    assert int(sources[3]) in (0, 1, 2)


def test_scores_of_one_prompt_alone_are_not_heard(heard_texts):
    heard, _ = shuffled(heard_texts, [True, True, True, False, False, False], size=3)
    assert not heard.readable_N.any()


def test_the_shuffled_listener_needs_prompts_with_winners(heard_texts):
    with pytest.raises(ValueError, match="needs at least 2 prompts to shuffle between, got 1"):
        shuffled(heard_texts, [True] * 3, size=3)
    labels = [None, *heard_texts.labels[1:]]
    with pytest.raises(ValueError, match="needs pairs with a winner; drop ties"):
        ShuffledListener().hear(dataclasses.replace(heard_texts, labels=labels))


def test_p_correct_is_the_probability_of_the_right_image():
    heard = Heard(torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([True, True]), torch.zeros(2))
    assert heard.p_correct_N(torch.tensor([0, 1])).tolist() == [0.25, 0.5]


@pytest.mark.parametrize("control", [RandomListener(), ShuffledListener()])
def test_in_evaluation_the_reference_listens_for_a_control(control: Listener) -> None:
    assert isinstance(control.in_evaluation, ReferenceListener)


def test_in_evaluation_a_listener_listens_itself() -> None:
    listener = ReferenceListener()
    assert listener.in_evaluation is listener
