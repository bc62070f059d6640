"""Chats with a server through OpenAI's client, streamed and not, and with tools, and compares.

    openai_client.py URL TEMPLATE

TEMPLATE is the chat template of the checkpoint: what the server makes of messages and tools has to be what jinja2 makes of them in
the settings of transformers. Ends with an assertion that fails, or prints what was said.
"""
import json
import sys

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from openai import OpenAI

url, template = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)
# The same work whatever was asked before.
options = dict(model=client.models.list().data[0].id, temperature=0, extra_body={"cache_prompt": False})

messages = [
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": 'What is the capital of France? "Quotes", \\ and émigrés stay.'},
]
weather = {
    "type": "function",
    "function": {
        "name": "current_weather",
        "description": "The weather of a city, now",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    },
}
call = {"id": "call00001", "type": "function", "function": {"name": "current_weather", "arguments": '{"city": "Paris"}'}}
answered = messages + [
    {"role": "assistant", "content": "", "tool_calls": [call]},
    {"role": "tool", "tool_call_id": "call00001", "content": "12 degrees"},
]


def rendered(messages, tools):
    """The prompt, as transformers' apply_chat_template makes it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
    text = open(template, encoding="utf-8").read()
    # transformers gives arguments of calls as objects.
    messages = json.loads(json.dumps(messages))
    for message in messages:
        for made in message.get("tool_calls", []):
            made["function"]["arguments"] = json.loads(made["function"]["arguments"])
    return environment.from_string(text).render(messages=messages, tools=tools, add_generation_prompt=True)


def post(path, body):
    return client.post(path, cast_to=object, body=body, options={})


# Streamed and not: the same words, and the same count of tokens.
whole = client.chat.completions.create(messages=messages, max_tokens=16, **options)
streamed = client.chat.completions.create(
    messages=messages, max_tokens=16, stream=True, stream_options={"include_usage": True}, **options
)
text, pieces, usage, reason = "", 0, None, None
for event in streamed:
    usage = event.usage or usage
    for choice in event.choices:
        reason = choice.finish_reason or reason
        pieces += bool(choice.delta.content)
        text += choice.delta.content or ""
assert whole.choices[0].message.content == text and text, (whole, text)
assert pieces > 1, pieces
assert reason == whole.choices[0].finish_reason, (reason, whole)
assert usage.prompt_tokens == whole.usage.prompt_tokens, (usage, whole.usage)

# The prompt is what the template of the checkpoint says, and that is what is run.
for chat, tools in [(messages, None), (messages, [weather]), (answered, [weather])]:
    body = {"messages": chat} | ({"tools": tools} if tools else {})
    prompt = post(f"{url}/apply-template", body)["prompt"]
    expected = rendered(chat, tools)
    assert prompt == expected, f"{prompt!r}\n{expected!r}"
    assert ("current_weather" in prompt) == bool(tools), prompt
    tokens = len(post(f"{url}/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"])
    more = dict(tools=tools) if tools else {}
    run = client.chat.completions.create(messages=chat, max_tokens=1, **options, **more)
    assert run.usage.prompt_tokens == tokens, (run.usage, tokens)

print(f"{pieces} pieces: {text!r}")
