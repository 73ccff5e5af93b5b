"""A completion becomes an answer: a value of the task's type, `unknown`, or `BadAnswer`. Never a guess.

Whatever the text, nothing else is raised, nothing outside the question's set, types or ranges is `ok`, and
the time is bounded (see `extract`). A text that is cut off counts as far as it can be trusted: free text and
lists are kept with `truncated`, a choice or an object that breaks off is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edgevlm.errors import BadAnswer, EmptyAnswer
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.boxes import WHOLE, Corners, Frame, Size
from edgevlm.infer.choice import Choice, read_choice, read_labels, read_plain_labels
from edgevlm.infer.confidence import of_choice, of_engine
from edgevlm.infer.detections import read_detections
from edgevlm.infer.extract import Found, find_values
from edgevlm.infer.fields import FieldUnknown, read_fields
from edgevlm.infer.free_text import read_ocr, read_text, read_verbatim
from edgevlm.infer.grounding import tagged_entries
from edgevlm.infer.lookup import ANSWER_KEYS, CLASS_KEYS
from edgevlm.infer.names import UNKNOWN, NameSet
from edgevlm.infer.reading import Case, Reading, entries_in, first_reading, lists_in
from edgevlm.infer.visible import bounded_raw, visible_text
from edgevlm.records import Question


def read_answer(
    question: Question,
    prompt: Prompt,
    completion: Completion,
    *,
    sent_size: Size | None = None,
    source_size: Size | None = None,
    crop: Corners | None = None,
) -> Reading:
    """Return what `completion` says in answer to `question`.

    Args:
        question: what was asked.
        prompt: how it was asked; its `box_format` says how boxes are written.
        completion: what came back.
        sent_size: width and height of the picture as it was sent.
        source_size: those of the picture that it was cut from; `sent_size` when absent.
        crop: the part that was sent, as 0 to 1 of the source; all of it when absent.

    Raises:
        EmptyAnswer: no visible text.
        BadAnswer: text that is no answer; `raw` holds it, bounded.

    """
    frame = Frame(sent_size, source_size, crop or WHOLE)
    case = Case(question, prompt, completion, visible_text(completion.text), frame)
    try:
        if not case.text and not _says_nothing(case):
            raise _empty(case)
        return _READERS[question.task](case)
    except BadAnswer as failure:
        failure.raw = bounded_raw(completion.text)
        raise


def _says_nothing(case: Case) -> bool:
    """Tell a picture without text from thinking that used up the budget: nothing was generated at all."""
    usage = case.completion.usage
    generated = usage.completion_tokens is None or usage.completion_tokens > 1
    return case.question.task == "ocr" and case.stopped and not generated and not case.completion.text.strip()


def _empty(case: Case) -> EmptyAnswer:
    if case.cut:
        return EmptyAnswer(
            f"no visible text within max_tokens={case.prompt.max_tokens}: "
            "the model spent them on reasoning; turn thinking off or raise max_tokens"
        )
    if case.completion.text.strip():
        return EmptyAnswer("the model sent its reasoning and no answer")
    return EmptyAnswer("the model sent no text")


def _read_question(case: Case) -> Reading:
    if not case.question.answers:
        return read_text(case)
    return _read_closed(case, NameSet(case.question.answers), ("answer", *CLASS_KEYS))


def _read_class(case: Case) -> Reading:
    return _read_closed(case, NameSet(case.question.classes, case.question.class_aliases), ANSWER_KEYS)


def _read_closed(case: Case, names: NameSet, keys: Sequence[str]) -> Reading:
    def read(found: Found) -> Reading:
        choice = read_choice(case.whole(found), names, keys)
        return replace(_chosen(case, choice), repaired=found.repaired)

    return _plain_choice(case, names) or first_reading(find_values(case.text), read)


def _plain_choice(case: Case, names: NameSet) -> Reading | None:
    """Take the whole text for the name if it is one; one that was cut could be the beginning of another."""
    name = names.match(case.bare)
    if name is None or (case.cut and names.begins_another(case.bare)):
        return None
    return replace(_chosen(case, Choice(name, case.bare)), truncated=case.cut)


def _chosen(case: Case, choice: Choice) -> Reading:
    if choice.name == UNKNOWN:
        return Reading(UNKNOWN)
    return Reading("ok", choice.name, of_choice(case.completion, choice.said, choice.confidence))


def _read_labels(case: Case) -> Reading:
    names = NameSet(case.question.classes, case.question.class_aliases)
    if not case.cut and (plain := read_plain_labels(case.bare, names)):
        return _labelled(plain, names)

    def read(found: Found) -> Reading:
        entries, truncated = entries_in(found)
        reading = _labelled(entries, names)
        return replace(reading, truncated=truncated, repaired=found.repaired and not truncated)

    return first_reading(lists_in(case.text), read)


def _labelled(entries: list[Any], names: NameSet) -> Reading:
    labels = read_labels(entries, names)
    return Reading(UNKNOWN) if labels is None else Reading("ok", labels)


def _read_structured(case: Case) -> Reading:
    def read(found: Found) -> Reading:
        try:
            value = read_fields(case.whole(found), case.question.output_structure)
        except FieldUnknown:
            return Reading(UNKNOWN, repaired=found.repaired)
        return Reading("ok", value, of_engine(case.completion), repaired=found.repaired)

    return _plain_unknown(case) or first_reading(find_values(case.text), read)


def _read_objects(case: Case) -> Reading:
    def read(found: Found) -> Reading:
        entries, truncated = entries_in(found)
        reading = _detected(case, entries)
        return replace(
            reading,
            truncated=truncated or reading.truncated,
            repaired=found.repaired and not truncated,
        )

    if tagged := tagged_entries(case.text):
        return _detected(case, tagged, truncated=case.cut)
    return _plain_unknown(case) or first_reading(lists_in(case.text), read)


def _detected(case: Case, entries: list[Any], *, truncated: bool = False) -> Reading:
    detections = read_detections(entries, case.question, case.prompt.box_format, case.frame)
    if detections.in_doubt:
        return Reading(UNKNOWN)
    return Reading("ok", detections.value, truncated=truncated or detections.more)


def _plain_unknown(case: Case) -> Reading | None:
    return Reading(UNKNOWN) if NameSet(()).match(case.bare) == UNKNOWN else None


_READERS: dict[str, Callable[[Case], Reading]] = {
    "unconstrained": read_verbatim,
    "ocr": read_ocr,
    "visual-question-answering": _read_question,
    "caption": read_text,
    "detailed-caption": read_text,
    "classification": _read_class,
    "multi-label-classification": _read_labels,
    "object-detection": _read_objects,
    "structured-answering": _read_structured,
}

__all__ = ["Reading", "read_answer"]
