"""What goes over the wire: a chat completion's request and answer, of OpenAI's shape with two extensions of vLLM's.

Left out, and refused where asked for: streaming, several choices, tools, sampling other than by temperature. Fields
that leave everything as it is (``top_p: 1``) are taken. Images come as data URLs alone: nothing is ever fetched.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lit_listener.judging.server.errors import Refusal
from lit_listener.judging.server.limits import Limits
from lit_listener.judging.server.openai.chats import ChatAnswer, ToldToken
from lit_listener.judging.server.wire import told

TEXT_FACTOR = 16
"""A chat's texts may be so many times as long as a prompt: they hold instructions and thoughts too."""
MOST_TOKENS = 4096
_TOP = 20
_WHOLE_NUMBERS = 2**63


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Part):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    """Where an image is: in the address itself."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(_Part):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class Message(_Part):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: str | Annotated[list[Annotated[TextPart | ImagePart, Field(discriminator="type")]], Field(min_length=1)]
    name: None = None

    @property
    def parts(self) -> Sequence[TextPart | ImagePart]:
        """Its texts and images."""
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class ChatRequest(_Part):
    """Go on with a chat."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=-_WHOLE_NUMBERS, lt=_WHOLE_NUMBERS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=_TOP)
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    user: str | None = None
    store: Literal[False] | None = None
    top_p: Annotated[float, Field(ge=1, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    repetition_penalty: Annotated[float, Field(ge=1, le=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        last = self.messages[-1]
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("expected max_tokens or max_completion_tokens, got both: send one of them")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: expected logprobs to be true with it")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("expected continue_final_message or add_generation_prompt, got both: send one of them")
        if self.add_generation_prompt is False and not self.continue_final_message:
            raise ValueError("add_generation_prompt: false goes with continue_final_message: true alone")
        if self.continue_final_message != (last.role == "assistant"):
            raise ValueError(
                "messages: the last one is to be the assistant's, and of text alone, if it is to be continued "
                "(continue_final_message: true), and somebody else's if not"
            )
        for message in self.messages:
            if message.role != "user" and any(isinstance(part, ImagePart) for part in message.parts):
                raise ValueError(f"messages: images belong to the user's, got one in the {message.role}'s")
        return self


def read_chat(body: bytes, limits: Limits) -> ChatRequest:
    """Make a record of a body.

    Raises:
        Refusal: it is no JSON, no such request, or beyond a limit.
    """
    most_chars = TEXT_FACTOR * limits.max_prompt_chars
    most_commas = most_chars + 8 * limits.max_images + len(ChatRequest.model_fields)
    if (commas := body.count(b",")) > most_commas:  # each value that is wrong would take a kilobyte to tell of
        raise Refusal(413, "too_large", f"expected JSON of at most {most_commas} commas, got {commas}: send less text")
    try:
        asked = ChatRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise told(error, ChatRequest) from None
    parts = [part for message in asked.messages for part in message.parts]
    for name, got, most in (
        ("messages: characters", sum(len(part.text) for part in parts if isinstance(part, TextPart)), most_chars),
        ("images", sum(isinstance(part, ImagePart) for part in parts), limits.max_images),
        ("messages", len(asked.messages), limits.max_images),
    ):
        if got > most:
            raise Refusal(422, "over_limit", f"{name}: expected at most {most}, got {got}")
    return asked


def completion(answer: ChatAnswer, model: str, request_id: str, created: int) -> dict[str, Any]:
    """An answer as it goes over the wire."""
    logprobs = None
    if answer.tokens is not None:
        content = [{**_token(each), "top_logprobs": [_token(top) for top in each.top]} for each in answer.tokens]
        logprobs = {"content": content, "refusal": None}
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": logprobs,
                "finish_reason": "stop" if answer.ended else "length",
            }
        ],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }


def _token(told: ToldToken) -> dict[str, Any]:
    return {"token": told.spelling.decode(errors="replace"), "bytes": list(told.spelling), "logprob": told.log_prob}
