"""Every row of the table of prompt forms that is about text, and what must hold for any prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.files.pairing import Pairing
from dreamartist_ext.hosts.prompt_language import Steps
from dreamartist_ext.webui.prompts.prompt_hook import LearnedWord, describe, effective_negative, even_chunks
from dreamartist_ext.webui.prompts.word_index import WordIndex

VECTORS = {"cat1": 3, "cat1-neg": 5, "dog2": 2, "dog2-neg": 4, "my cat": 1, "my cat-neg": 1, "plain": 2}


def paired(names):
    pairing = Pairing(dict.fromkeys(names))
    found = ((name, pairing.negative_of(name)) for name in names)
    return {name: LearnedWord(name, negative) for name, negative in found if negative}


WORDS = paired(VECTORS)
TWENTY = Steps(20)


class FakeLanguage:
    """AUTOMATIC1111's prompt language in small: for well-formed prompts it gives what the real one gives."""

    def __init__(self, vectors=None, weights=True, old_timelines=False):
        self.vectors = VECTORS if vectors is None else vectors
        self.weights, self.old_timelines = weights, old_timelines
        ids = {name: tuple(tokens(name)) for name in self.vectors}
        self.lookup = sorted(ids.items(), key=lambda item: -len(item[1]))
        self.asked = 0

    def parts(self, prompt):
        """As AUTOMATIC1111's get_multicond_prompt_list: a text that stands there twice is one part."""
        found = {}
        for part in re.split(r"\bAND\b", prompt):
            text, weight = re.fullmatch(r"((?:\s|.)*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*", part).groups()
            found[text.strip()] = found.get(text.strip(), 0) + (1.0 if weight is None else float(weight))
        return list(found.items())

    def schedules(self, prompt, steps):
        self.asked += 1
        if has_loose_bar(prompt):
            return [(steps.count, prompt)]
        ends = {steps.count} | {end for end in switches(prompt, steps, self.old_timelines) if 1 <= end <= steps.count}
        return [(end, text_at(prompt, end, steps, self.old_timelines)) for end in sorted(ends)]

    def embeddings(self, text):
        self.asked += 1
        return [found for found, _, _ in self._read(text) if found is not None]

    def chunks(self, text):
        full, used = 0, 0
        for found, _, size in self._read(text):
            if (found, size) == (None, 0):  # BREAK
                full, used = full + 1, 0
            elif used + size > 75:
                full, used = full + 1, size
            else:
                used += size
        return max(1, full + (used > 0))

    def _read(self, text) -> Iterator[tuple[tuple[str, float] | None, float, int]]:
        for section, weight in attention(text) if self.weights else [(text, 1.0)]:
            if (section, weight) == ("BREAK", -1):
                yield None, weight, 0
                continue
            rest = tokens(section)
            while rest:
                name, size = next(
                    ((name, len(ids)) for name, ids in self.lookup if tuple(rest[: len(ids)]) == ids), (None, 1)
                )
                yield (name, weight) if name else None, weight, self.vectors[name] if name else 1
                rest = rest[size:]


def tokens(text):
    return re.findall(r"[a-z]+|\d|[^\sa-z\d]+", text.lower())


def closing(prompt, start):
    """Where the bracket at `start` closes, or None."""
    depth, place = [], start
    while place < len(prompt):
        char = prompt[place]
        if char == "\\":
            place += 1
        elif char in "([":
            depth.append(")" if char == "(" else "]")
        elif char in ")]":
            if depth.pop() != char:
                return None
            if not depth:
                return place
        place += 1
    return None


def fields(content, marks):
    """The content of brackets, split at marks that stand in no inner brackets; and the marks."""
    parts, found, place = [""], [], 0
    while place < len(content):
        char = content[place]
        end = closing(content, place) if char in "([" else None
        piece = content[place : place + 2] if char == "\\" else content[place : (end or place) + 1]
        if char in marks:
            found.append(char)
            parts.append("")
        else:
            parts[-1] += piece
        place += len(piece)
    return parts, found


def moment(number, steps, old_timelines):
    value = float(number)
    if old_timelines:
        count = steps.first
        return min(count, int(value * count if value < 1 else value))
    if "." in number:
        return min(steps.count, int((value - (steps.second is not None)) * steps.count))
    return min(steps.count, int(value - steps.before))


def groups(prompt):
    """(start, end, fields, marks) of the outermost square brackets that mean something, round ones looked through."""
    place = 0
    while place < len(prompt):
        end = closing(prompt, place) if prompt[place] == "[" else None
        if end is not None:
            parts, marks = fields(prompt[place + 1 : end], ":|")
            is_number = re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)\s*", parts[-1])
            if marks and (set(marks) == {"|"} or (set(marks) == {":"} and len(marks) <= 2 and is_number)):
                yield place, end, parts, marks
                place = end
        place += 2 if prompt[place] == "\\" else 1


def switches(prompt, steps, old_timelines):
    for _, _, parts, marks in groups(prompt):
        inner = parts if marks[0] == "|" else parts[:-1]
        for part in inner:
            yield from switches(part, steps, old_timelines)
        yield from range(1, steps.count + 1) if marks[0] == "|" else [moment(parts[-1], steps, old_timelines)]


def has_loose_bar(prompt):
    """A bar that separates nothing; the real grammar then knows no switches at all."""
    outside, place = "", 0
    for start, end, parts, _ in groups(prompt):
        if any(map(has_loose_bar, parts)):
            return True
        outside, place = outside + prompt[place:start], end + 1
    return re.search(r"(?<!\\)\|", outside + prompt[place:]) is not None


def text_at(prompt, step, steps, old_timelines):
    text, place = "", 0
    for start, end, parts, marks in groups(prompt):
        if marks[0] == "|":
            chosen = parts[(step - 1) % len(parts)]
        else:
            before, after = (["", *parts[:-1]])[-2:]
            chosen = before if step <= moment(parts[-1], steps, old_timelines) else after
        text += prompt[place:start] + text_at(chosen, step, steps, old_timelines)
        place = end + 1
    return text + prompt[place:]


def attention(text):
    pieces, opened = [], []

    def multiply(start, factor):
        for piece in pieces[start:]:
            piece[1] *= factor

    for found in re.finditer(r"\\[\\()\[\]]|\\|[(\[]|:\s*([-+]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:", text):
        token, number = found.group(), found.group(1)
        kind = "(" if number or token == ")" else "["
        starts = [start for char, start in opened if char == kind]
        if token in ("(", "["):
            opened.append((token, len(pieces)))
        elif (number or token in (")", "]")) and starts:
            multiply(starts[-1], float(number) if number else 1.1 if kind == "(" else 1 / 1.1)
            del opened[len(opened) - 1 - [char for char, _ in reversed(opened)].index(kind)]
        elif token.startswith("\\"):
            pieces.append([token[1:], 1.0])
        else:
            for count, part in enumerate(re.split(r"\s*\bBREAK\b\s*", token)):
                pieces += [["BREAK", -1]] * (count > 0) + [[part, 1.0]]
    for char, start in opened:
        multiply(start, 1.1 if char == "(" else 1 / 1.1)
    merged = []
    for piece in pieces:
        if merged and merged[-1][1] == piece[1]:
            merged[-1][0] += piece[0]
        else:
            merged.append(piece)
    return merged or [["", 1.0]]


def weights(language, prompt, steps, name):
    """By step: the largest weight of an embedding, and how often it stands there."""
    rows = [(0.0, 0)] * steps.count
    for part, share in language.parts(prompt):
        done = 0
        for end, text in language.schedules(part, steps):
            here = [weight * share for found, weight in language.embeddings(text) if found == name and share > 0]
            for step in range(done, end):
                before, count = rows[step]
                rows[step] = (max([before] * (count > 0) + here, default=0.0), count + len(here))
            done = end
    return rows


def complete(positive, typed="", steps=TWENTY, words=None, language=None):
    return effective_negative(language or FakeLanguage(), positive, typed, steps, WORDS if words is None else words)


ROWS = [
    ("a photo of cat1", "", "cat1-neg"),
    ("a photo of cat1", "blurry", "blurry, cat1-neg"),
    ("Cat1, CAT1!", "blurry", "blurry, cat1-neg"),
    ("(cat1:1.3) in snow", "", "(cat1-neg:1.3)"),
    ("((cat1))", "", "(cat1-neg:1.21)"),
    ("[cat1]", "", "(cat1-neg:0.909)"),
    ("cat1, (cat1:1.2)", "", "(cat1-neg:1.2)"),
    ("[cat1:0.4]", "", "[cat1-neg:0.4]"),
    ("[cat1::0.4]", "", "[cat1-neg::0.4]"),
    ("[tree:cat1:10]", "", "[cat1-neg:10]"),
    ("[cat1:dog2:0.5]", "x", "x, [cat1-neg:dog2-neg:0.5]"),
    ("[cow|cat1]", "", "[|cat1-neg]"),
    ("([cat1:5]:1.3)", "", "[(cat1-neg:1.3):5]"),
    ("cat1 and dog2", "", "cat1-neg, dog2-neg"),
    ("cat1 AND dog2 :0.5", "", "cat1-neg, (dog2-neg:0.5)"),
    ("cat1 AND dog2 :0", "", "cat1-neg"),
    ("cat1 AND dog2 :-1", "blurry", "blurry, cat1-neg"),
    ("cat1 :-0.5", "blurry", "blurry"),
    ("cat1 AND cat1, dog2 :1.2", "", "(cat1-neg:1.2), (dog2-neg:1.2)"),
    ("(cat1:1.3) :0.5 AND [dog2:0.4] :2", "", "(cat1-neg:0.65), [(dog2-neg:2):0.4]"),
    ("cat1 :0.5 AND tree AND cat1 :0.7", "", "(cat1-neg:1.2)"),
    ("cat1 :0.5 AND tree AND a cat1 :0.7", "", "(cat1-neg:0.7)"),
    ("dog2 :1 AND cat1 AND dog2 :-1", "", "cat1-neg"),
    ("cat1 BREAK a garden", "", "cat1-neg"),
    ("cat1", "(cat1-neg:0.5)", "(cat1-neg:0.5)"),
    ("a tree", "cat1", "cat1"),
    (r"\(cat1\)", "", "cat1-neg"),
    ("cat1x", "", "cat1-neg"),  # as the look-up says: letters and digits are tokens of their own
    ("concat1", "", ""),
]


@pytest.mark.parametrize(("positive", "typed", "expected"), ROWS)
def test_the_effective_negative_of_a_row(positive, typed, expected):
    assert complete(positive, typed).negative == expected


@pytest.mark.parametrize(("positive", "typed", "expected"), ROWS)
def test_a_negative_that_is_complete_is_not_completed_again(positive, typed, expected):
    again = complete(positive, expected)
    assert again.negative == expected
    assert not again.added


@pytest.mark.parametrize(("positive", "typed", "expected"), ROWS)
def test_what_is_said_is_what_was_added(positive, typed, expected):
    names = {name for name, word in WORDS.items() if word.negative in expected and word.negative not in typed}
    assert {word.name for word in complete(positive, typed).added} == names


@pytest.mark.parametrize(
    ("positive", "typed", "expected"),
    [
        ("cat1", "blurry, ", "blurry, cat1-neg"),
        ("cat1", "  ", "cat1-neg"),
        ("cat1", "blurry\n", "blurry, cat1-neg"),
        ("cat1", "(blurry", "cat1-neg, (blurry"),
        ("cat1", "[blurry:0.5", "cat1-neg, [blurry:0.5"),
        ("cat1", "[cat1-neg:0.9]", "[cat1-neg:0.9]"),
        ("cat1", "x | y", "x | y, cat1-neg"),
        ("[cat1:0.4]", "x | y", r"x \| y, [cat1-neg:0.4]"),
        ("cat1", "CAT1-NEG", "CAT1-NEG"),
        ("my cat", "", "my cat-neg"),
        ("[[cat1:dog2:15]:10]", "", "[[cat1-neg:dog2-neg:15]:10]"),
        ("[a cat1:b cat1:5] dog2", "", "cat1-neg, dog2-neg"),
        ("[cat1:0.4] cat1", "", "cat1-neg"),
        ("[cat1|(cat1:1.2)]", "", "[cat1-neg|(cat1-neg:1.2)]"),
        ("cat1 [cow|(cat1:1.2)]", "", "[cat1-neg|(cat1-neg:1.2)]"),
        ("[ca|do]t1", "", "[cat1-neg|]"),
        ("[ca:do:5]t1", "", "[cat1-neg::5]"),
        ("(dog2 [cat1:5]:1.2)", "", "(dog2-neg:1.2), [(cat1-neg:1.2):5]"),
        ("(cat1:0)", "x", "x"),
        ("(cat1:-1)", "", "(cat1-neg:-1)"),
        ("(cat1", "", "(cat1-neg:1.1)"),
        ("plain", "x", "x"),
        ("cat1-neg", "x", "x"),
        ("[tree:cat1:30]", "x", "x"),
    ],
)
def test_more_forms(positive, typed, expected):
    assert complete(positive, typed).negative == expected


@pytest.mark.parametrize(
    ("positive", "strength", "expected"),
    [
        ("cat1", 0.5, "(cat1-neg:0.5)"),
        ("(cat1:1.3)", 0.5, "(cat1-neg:0.65)"),
        ("(cat1:2)", 0.5, "cat1-neg"),
        ("[cat1:0.4]", 2, "[(cat1-neg:2):0.4]"),
        ("cat1", 1, "cat1-neg"),
        ("cat1", 0, ""),
    ],
)
def test_strength_multiplies_the_weight_of_the_negative(positive, strength, expected):
    assert complete(positive, words={"cat1": LearnedWord("cat1", "cat1-neg", strength)}).negative == expected


def test_words_have_strengths_of_their_own():
    words = {"cat1": LearnedWord("cat1", "cat1-neg", 0.5), "dog2": LearnedWord("dog2", "dog2-neg", 0)}
    result = complete("cat1 and dog2", words=words)
    assert result.negative == "(cat1-neg:0.5)"
    assert describe(result.added) == "cat1 -> cat1-neg x 0.5"


def test_the_line_names_word_and_negative():
    assert describe(complete("cat1 and dog2").added) == "cat1 -> cat1-neg, dog2 -> dog2-neg"


def test_no_learned_word_asks_for_nothing_and_changes_nothing():
    assert complete("cat1", "x", words={}).negative == "x"
    assert complete("a tree", " x ").negative == " x "


HIRES = Steps(20, 10)


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        ("cat1", "cat1-neg"),
        ("[cat1:0.4]", "[cat1-neg:0.4]"),  # over before the second pass begins: the same text means "always" there
        ("[cat1::0.4]", ""),
        ("[cat1:1.4]", "[cat1-neg:1.4]"),
        ("[cat1:25]", "[cat1-neg:25]"),
        ("[cat1::25]", "[cat1-neg::25]"),
        ("cat1 [cat1:(cat1:1.2):23]", "[cat1-neg:(cat1-neg:1.2):23]"),
        ("[cow|cat1]", "[|cat1-neg]"),
    ],
)
def test_the_second_pass_counts_its_steps_as_the_webui_does(positive, expected):
    assert complete(positive, steps=HIRES).negative == expected


def test_old_timelines_are_spelled_as_they_count():
    language = FakeLanguage(old_timelines=True)
    assert complete("ca[ts:t1:3]", language=language).negative == "[cat1-neg:3]"


def test_where_brackets_are_text_none_are_written():
    language = FakeLanguage(weights=False)
    half = {"cat1": LearnedWord("cat1", "cat1-neg", 0.5)}
    assert complete("((cat1))", language=language).negative == "cat1-neg"
    assert complete("cat1", language=language, words=half).negative == "cat1-neg"


def test_names_with_brackets_are_escaped():
    vectors = {"cat (old)": 1, "cat (old)-neg": 1}
    words = paired(vectors)
    result = complete(r"a cat \(old\)", words=words, language=FakeLanguage(vectors))
    assert result.negative == r"cat \(old\)-neg"


def test_names_are_paired_whatever_their_case():
    words = paired(["Cat1", "cat1-NEG", "dog2", "fox-neg"])
    assert words == {"Cat1": LearnedWord("Cat1", "cat1-NEG")}


class TestEvenChunks:
    long = "blurry, " * 40

    def test_shorter_negatives_get_as_many_chunks(self):
        language = FakeLanguage()
        texts = even_chunks(language, [self.long, "x", "", "(x)", "x BREAK y"], TWENTY)
        assert texts == [self.long, "x BREAK BREAK", "BREAK BREAK", "(x) BREAK BREAK", "x BREAK y"]
        assert {language.chunks(text) for text in texts} == {2}

    def test_equal_ones_stay_as_they_are(self):
        texts = ["x", "", " y "]
        assert even_chunks(FakeLanguage(), texts, TWENTY) == texts

    def test_a_text_that_is_long_on_some_steps_counts_as_long(self):
        texts = even_chunks(FakeLanguage(), [f"[x:{self.long}:10]", "y"], TWENTY)
        assert texts[1] == "y BREAK BREAK"

    def test_a_text_that_cannot_be_lengthened_stays(self):
        assert even_chunks(FakeLanguage(), [self.long, "(x"], TWENTY)[1] == "(x"


plain = st.sampled_from(["cat1", "dog2", "my cat", "a cow", "Cat1 dog2", "cat1, cat1", "x", "plain cat1", ""])
numbers = st.sampled_from(["0.25", "0.5", "1.5", "3", "7", "12", " 4 ", "0", "25"])
factors = st.sampled_from(["0.5", "1.2", "1.0", "2", "-1"])


def nested(inner):
    sequence = st.lists(inner, min_size=1, max_size=3).map(" ".join)
    return st.one_of(
        sequence,
        st.builds("({})".format, sequence),
        st.builds("[{}]".format, sequence),
        st.builds("({}:{})".format, sequence, factors),
        st.builds("[{}:{}]".format, sequence, numbers),
        st.builds("[{}:{}:{}]".format, sequence, sequence, numbers),
        st.builds("[{}::{}]".format, sequence, numbers),
        st.lists(sequence, min_size=2, max_size=3).map(lambda options: f"[{'|'.join(options)}]"),
    )


prompts = st.recursive(plain, nested, max_leaves=8)
shares = st.sampled_from(["", " :0.5", " :2", " :0", " :-1", ":1.25"])
parts = st.builds("{}{}".format, prompts, shares)
composed = st.lists(parts, min_size=1, max_size=2).map(" AND ".join)
typed_negatives = st.sampled_from(
    ["", "blurry", "blurry, ", "(ugly:1.2), [x:0.5]", "(open", "a) b", "x BREAK y", "cat1"]
)
passes = st.builds(Steps, st.integers(1, 12), st.one_of(st.none(), st.integers(1, 12)))
strengths = st.sampled_from([1.0, 0.5, 1.7])


@settings(max_examples=400, deadline=None)
@given(composed, typed_negatives, passes, strengths)
def test_every_negative_has_the_steps_and_the_weight_of_its_positive(positive, typed, steps, strength):
    language = FakeLanguage()
    words = {name: LearnedWord(name, word.negative, strength) for name, word in WORDS.items()}
    effective = effective_negative(language, positive, typed, steps, words)
    for name, word in words.items():
        truth = [weight * strength for weight, _ in weights(language, positive, steps, name)]
        found = weights(language, effective.negative, steps, word.negative)
        assert [weight for weight, _ in found] == pytest.approx(truth, abs=2e-3)
        assert all(count <= 1 for _, count in found)


@settings(max_examples=200, deadline=None)
@given(composed, typed_negatives, passes)
def test_completing_twice_is_completing_once(positive, typed, steps):
    once = complete(positive, typed, steps)
    assert complete(positive, once.negative, steps).negative == once.negative


@settings(max_examples=200, deadline=None)
@given(composed, passes)
def test_what_is_active_at_any_step_is_seen_beforehand(positive, steps):
    active = {name for name in WORDS if any(weight for weight, _ in weights(FakeLanguage(), positive, steps, name))}
    assert active <= set(WordIndex(VECTORS).seen(positive))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="cat1dog2-neg()[]:|\\ ,.5AND\n", max_size=40), st.text(alphabet="x([:])\\ ,0.5", max_size=10))
def test_any_text_gives_an_exact_negative_or_leaves_the_typed_one(positive, typed):
    language = FakeLanguage()
    effective = complete(positive, typed, language=language)
    for word in effective.added:
        truth = [weight for weight, _ in weights(language, positive, TWENTY, word.name)]
        found = weights(language, effective.negative, TWENTY, word.negative)
        assert [weight for weight, _ in found] == pytest.approx(truth, abs=2e-3)
    assert effective.added or effective.negative == typed
