"""How the dialogues of a corpus are translated and spoken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class EndpointConfig:
    """A server that is asked over HTTP, and how patiently."""

    url: str
    """Where it answers."""
    name: str = ""
    """Which model that is, e.g. cosyvoice-300m-sft. What was made is kept under this name (without one, under the url), so
    with a name the server may move, and one name must not stand for two models."""
    api_key_env: str = ""
    """Environment variable with the key, sent as a bearer token. The key itself is written nowhere."""
    timeout_s: float = 60.0
    """Longest silence of the server, in seconds."""
    attempts: int = 5
    """Requests for one answer before the record is set aside, to be tried again by another run."""
    backoff_s: float = 1.0
    """Seconds before the third attempt, doubled before each further one; the second comes at once. A server's Retry-After
    goes before."""
    longest_wait_s: float = 120.0
    """Most seconds between two attempts, whatever the server asks for."""

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"endpoint.url is {self.url!r}; it begins with http:// or https://")
        if self.attempts < 1 or self.timeout_s <= 0 or self.backoff_s < 0 or self.longest_wait_s < 0:
            raise ValueError(
                "endpoint: attempts must be at least 1, timeout_s above 0, backoff_s and longest_wait_s not negative"
            )

    @property
    def identity(self) -> str:
        return self.name or self.url


@dataclasses.dataclass(frozen=True)
class EspeakConfig:
    """espeak-ng, which is built in: any language, clear and robotic, thousands of times faster than real time."""

    voices: tuple[str, ...] = ()
    """variant-rate-pitch, such as f2-165-50; empty for thousands."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"espeak": "espeak-ng"}


@dataclasses.dataclass(frozen=True)
class CommandConfig:
    """Any program that writes a sound file."""

    command: str
    """Run without a shell for each text. {voice}, {language}, {output} (file to write) and {text} or {text_file} stand for
    their values; the text is on stdin too."""
    voices: tuple[str, ...]
    """One is chosen for each record by a stable hash."""
    timeout_s: float = 120.0
    """Longest run, in seconds."""

    def __post_init__(self):
        _check_voices(self.voices)
        if "{output}" not in self.command:
            raise ValueError(f"command is {self.command!r}; it needs {{output}}, the file that it writes")

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"command": self.command}


@dataclasses.dataclass(frozen=True)
class HttpConfig:
    """Any server that answers a text with its sound. {text}, {voice} and {language} stand for their values."""

    endpoint: EndpointConfig
    voices: tuple[str, ...]
    """One is chosen for each record by a stable hash."""
    method: str = "POST"
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What is sent as JSON."""
    form: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What is sent as a form in place of JSON; with GET, in the address."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Files sent with the form, such as a recording to clone: {"prompt_wav": "voices/{voice}.wav"}."""
    pcm_rate: int = 0
    """Samples a second where the answer is bare 16-bit samples; 0 where it is a sound file (WAV, FLAC, MP3, Ogg)."""

    def __post_init__(self):
        _check_voices(self.voices)
        if self.body and (self.form or self.files):
            raise ValueError("body is sent as JSON, form and files as a form; give one of the two")

    @property
    def identity(self) -> Mapping[str, Any]:
        request = {name: getattr(self, name) for name in ("method", "body", "form", "files", "pcm_rate")}
        return {"endpoint": self.endpoint.identity, **request}


def _check_voices(voices: tuple[str, ...]) -> None:
    if not voices:
        raise ValueError("voices is empty; name at least one")


TtsConfig = EspeakConfig | CommandConfig | HttpConfig


@dataclasses.dataclass(frozen=True)
class TranslatorConfig:
    """A language model behind an OpenAI-compatible endpoint."""

    endpoint: EndpointConfig
    """Its url ends before /chat/completions, e.g. http://localhost:8000/v1."""
    model: str
    """As the endpoint calls it."""
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By direction, such as {"en-zh": "..."}, in place of the built-in one; {text}, {source} and {target} stand for their
    values, the latter two for names of languages."""
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """More fields of the request, such as max_tokens; temperature is 0 unless it stands here."""
    threads: int = 16
    """Requests at a time."""

    def __post_init__(self):
        if self.threads < 1:
            raise ValueError(f"translator.threads is {self.threads}; it must be at least 1")
        for direction, prompt in self.prompts.items():
            if "{text}" not in prompt:
                raise ValueError(f"translator.prompts.{direction} is {prompt!r}; it needs {{text}}")

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"endpoint": self.endpoint.identity, "model": self.model, "prompts": self.prompts, "body": self.body}


@dataclasses.dataclass(frozen=True)
class SpeakConfig:
    """What a corpus of text dialogues becomes: the languages, and who speaks them."""

    question: Mapping[str, TtsConfig]
    """Synthesiser of the questions by language: many voices (paper section 3)."""
    answer: Mapping[str, TtsConfig]
    """Synthesiser of the answers by language: one voice."""
    translator: TranslatorConfig | None = None
    """Makes the languages that a dialogue lacks; None speaks those that it has."""
    cache: str = "spoken"
    """Folder of all that was translated and spoken; workers and experiments may share it."""
    failures_in_a_row: int = 20
    """Of one synthesiser or translator before the work stops."""

    def __post_init__(self):
        if not self.question or not self.answer:
            raise ValueError("speak: question and answer need a synthesiser for at least one language")
        if self.failures_in_a_row < 1:
            raise ValueError(f"speak.failures_in_a_row is {self.failures_in_a_row}; it must be at least 1")

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What decides the records, without where servers are and how patiently they are asked."""
        sides = {"question": self.question, "answer": self.answer}
        voiced = {
            side: {language: {**tts.identity, "voices": tts.voices} for language, tts in by_language.items()}
            for side, by_language in sides.items()
        }
        return {**voiced, "translator": self.translator and self.translator.identity}
