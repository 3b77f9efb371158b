"""`python -m tests.acceptance.tool_llama PORT`: the built-in model behind llama.cpp, with a template that knows tools.

Its own template knows none. Once the model begins a call, llama.cpp's grammar of the offered tools holds it to one
that is valid; whoever asks it leans it towards that beginning (`CALLS`), as so small a model seldom finds it by itself.
"""

import sys

from devstack.model import NAME, parameters, serve, weights

CALLS = {"logit_bias": [["<", 5.0]]}
"""Extra arguments by which it calls a tool whenever it is offered one."""
_TEMPLATE = """
{%- if tools %}
<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}You may call these functions:
<tools>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}</tools>
To call one, write its name and arguments:
<tool_call>
{"name": "...", "arguments": {...}}
</tool_call><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'system' %}{% if not loop.first %}<|im_start|>system
{{ message.content }}<|im_end|>
{% endif %}
{%- elif message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role == 'assistant' and message.tool_calls %}<|im_start|>assistant
{% if message.content %}{{ message.content }}
{% endif %}{% for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{% endfor %}<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def main(port: int) -> None:
    """Serve until asked to end."""
    path = weights()
    assert path is not None, f"{NAME} is installed by `make install-test`"
    chosen = parameters(path, port)
    chosen.use_jinja, chosen.chat_template = True, _TEMPLATE
    serve(chosen)


if __name__ == "__main__":
    main(int(sys.argv[1]))
